"""The same three hosts with the engine `swarm`: what becomes of the tasks, and of the load, without anybody's help."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karst.swarm.rollout import name_of
from tests.chaos.hosts import REPLICAS, Stage, kept
from tests.chaos.stage import CALLED, CRASH, write_app
from tests.chaos.traffic import Traffic
from tests.support.cluster import Cluster

APP, SIDECAR = 10001, 10002  # users in a task, as image/task/task has them
RESCHEDULE_SECONDS = 90.0
GATE_SECONDS = 45


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """Every step in its order; ``paths`` and ``only`` are for the parts whose runs do not depend on each other."""
    with (
        tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder,
        Cluster.borrowed(3) as cluster,
        cluster.registry(Path(folder) / "registry") as registry,
    ):
        stage = SwarmStage(Path(folder) / "stack", cluster, registry, Path(folder) / "registry" / "docker")
        try:
            yield kept({"name": "first apply", "path": "", **stage.first()})
            yield {"name": "who answers", "path": "", **stage.answers()}
            yield kept(stage.watch("rolling deploy over the hosts", stage.roll))
            yield kept(stage.watch("a version that does not come up", stage.bad))
            stage.spread.apply(check=0)
            stage.aim()
            yield kept(stage.watch("a host killed", stage.kill, least=60))
            yield kept(stage.watch("a deploy without it (`down: true`)", stage.move))
            yield kept(stage.watch("the host is back, and a deploy", stage.back))
            yield {"name": "plan after all of it", "path": "", "change": {}, "pending": stage.spread.pending()}
        finally:
            stage.close()


class SwarmStage(Stage):
    """The same services as tasks of the Swarm, with their images in a registry; ``login`` is a Docker configuration."""

    def __init__(self, home: Path, cluster: Cluster, registry: str, login: Path) -> None:
        variables = {"registry": registry, "registry_login": True, "gate_timeout": GATE_SECONDS}
        super().__init__(home, cluster, mode="swarm", **variables)
        self.spread.env["DOCKER_CONFIG"] = str(login)

    # ----------------------------------------------------------------------------------------------- where things are
    @property
    def alive(self) -> list[str]:
        """The hosts that were not cut off."""
        return [name for name in self.spread.names if name != getattr(self, "lost", "")]

    def places(self) -> dict[str, dict[str, list[str]]]:
        """A task's name on the network is its container's short id: the Swarm's own names have dots."""
        found: dict[str, dict[str, list[str]]] = {}
        wanted = ("--filter", f"label=karst.stack={self.kit.stack}", "--filter", "label=karst.role=task")
        for name in self.alive:
            rows = self.spread.host(name).docker("ps", *wanted, "--format", '{{.Label "karst.service"}} {{.ID}}')
            for service, identifier in (row.split() for row in rows.splitlines()):
                found.setdefault(name, {}).setdefault(service, []).append(identifier)
        return found

    def container(self, service: str, role: str, host: str) -> str:
        return self.places()[host][service][0]

    def inside(self, service: str, role: str, host: str) -> list[str]:
        """As the user that ``role`` has in the one container."""
        command = super().inside(service, role, host)
        user = {"app": APP, "sidecar": SIDECAR}[role]
        return [*command[:-1], "--user", f"{user}:{user}", command[-1]]

    def running(self) -> dict[str, int]:
        """Of each called service, the tasks that are to run and do, which takes a passed health check."""
        found = {}
        for service in CALLED:
            name = name_of(self.kit.stack, service)
            options = ("--filter", "desired-state=running", "--format", "{{.CurrentState}}")
            rows = self.spread.door.docker("service", "ps", name, *options).splitlines()
            found[service] = sum(row.startswith("Running") for row in rows)
        return found

    @property
    def victim(self) -> str:
        """Of the hosts that neither Terraform nor the load is on, the one with most of what the load asks for."""
        places = self.places()
        others = [name for name in self.alive if name not in (self.spread.names[0], self.caller_host)]
        return max(others, key=lambda name: len(places.get(name, {}).get("web", [])))

    # ---------------------------------------------------------------------------------------------------- what is done
    def aim(self) -> None:
        """See to it that the host to be killed has a task of `web`: a roll-out may leave three tasks on two hosts."""
        for _ in range(4):
            time.sleep(15)  # what drains is still listed
            if self.places().get(self.victim, {}).get("web"):
                return
            self._number += 1
            for service in CALLED:
                write_app(self.kit.home / service, service, f"v{self._number}")
            self.spread.apply()
        raise AssertionError(f"no task of web is on a host that may be killed: {self.places()}")

    def bad(self, _traffic: Traffic) -> dict[str, Any]:
        """A version that ends at once: the Swarm takes it back, and the apply says why. Then the code is as it was."""
        before = {service: (self.kit.home / service / "main.py").read_text() for service in CALLED}
        for service in CALLED:
            (self.kit.home / service / "main.py").write_text(f"# {self._number}\n{CRASH}")
        try:
            said = self.spread.apply(check=1)
            # Terraform says it twice, and breaks the lines of the second time.
            whole = [line for line in said["said"] if "(local-exec): web is not healthy: " in line]
            return {**said, "reason": whole[0].partition("(local-exec): ")[2] if whole else ""}
        finally:
            for service, text in before.items():
                (self.kit.home / service / "main.py").write_text(text)

    def kill(self, traffic: Traffic) -> dict[str, Any]:
        """Pull the plug of a host, and see how long the Swarm takes to have everything running elsewhere."""
        self.lost = self.victim
        cut = time.time()
        self.spread.cluster.power_off(self.spread.names.index(self.lost) + 1)
        traffic.mark("change")
        noticed = again = None
        while again is None and time.time() < cut + RESCHEDULE_SECONDS:
            short = min(self.running().values()) < REPLICAS
            if short and noticed is None:
                noticed = round(time.time() - cut, 1)
            elif noticed is not None and not short:
                again = round(time.time() - cut, 1)
            time.sleep(0.3)
        return {"host": self.lost, "cut": cut, "noticed_after": noticed, "rescheduled_after": again}

    def move(self, _traffic: Traffic) -> dict[str, Any]:
        """A new version while the host is away, whose edge Terraform is to forget."""
        self.spread.down.add(self.lost)
        return self.roll(_traffic)

    def back(self, _traffic: Traffic) -> dict[str, Any]:
        """Nothing moves to a host that is back; the next roll-out uses it again."""
        self.spread.cluster.power_on(self.spread.names.index(self.lost) + 1)
        self.spread.cluster.settle()
        self.spread.down.clear()
        self.lost = ""
        return {**self.roll(_traffic), "pods": self.places()}
