"""kill -9 of everything: what was lost, how long it took, and that the next deploy ends in an empty plan."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from karst.probe import probe
from tests.chaos.scenario import watch
from tests.chaos.stage import CALLED, Stage
from tests.chaos.traffic import Traffic, senders
from tests.support.engine import Engine
from tests.support.kit import IAC

KILL_RATE = 50.0  # requests a second of each protocol on each path
UNNOTICED = 15.0  # seconds from a killed deploy to the next one
PATIENCE = 40.0  # seconds until a service is back by itself, else it is helped


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """Every kill whose name has ``only`` in it, on one stack, with load on both paths; the engine on one of its own."""
    with tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder:
        stage = Stage(Path(folder) / "stack")
        try:
            stage.deploy()
            for name, victim in VICTIMS.items():
                if only in name:
                    yield container(stage, name, victim)
            yield from (mid_apply(stage, program) for program in ("terraform", "iac") if only in program)
        finally:
            stage.close()
        if only not in "engine":
            return
        with Engine.borrowed() as engine:
            stage = Stage(Path(folder) / "private", engine=engine)
            try:
                stage.deploy()
                yield engine_event(stage, "engine restarted", restart)
                yield engine_event(stage, "kill -9: dockerd, containerd and their shims", kill)
            finally:
                stage.close()


def first(stage: Stage, service: str, role: str) -> int:
    """The first process of a container, as the host numbers it."""
    return int(stage.container(service, role)["State"]["Pid"])


def app_process(stage: Stage) -> int:
    """The app itself: the child of the runner, which is its container's first process."""
    runner = first(stage, "web", "app")
    return int(Path(f"/proc/{runner}/task/{runner}/children").read_text().split()[0])


VICTIMS: dict[str, Callable[[Stage], int]] = {
    "the app": app_process,
    "the runner (app container)": lambda stage: first(stage, "web", "app"),
    "the sidecar": lambda stage: first(stage, "web", "sidecar"),
    "the pod container": lambda stage: first(stage, "web", "pod"),
    "the edge": lambda stage: first(stage, "edge", "edge"),
}


def healthy(stage: Stage, service: str) -> bool:
    """Whether HealthCheck, asked through the edge, says that the service is well."""
    answer = probe(
        service,
        sni=service,
        address=("127.0.0.1", stage.kit.ports["edge"]),
        secrets_dir=stage.kit.secrets_dir,
        trust_domain="karst.local",
    )
    return answer.healthy


def wait_well(stage: Stage, seconds: float) -> float | None:
    """Seconds until both services have been well for two seconds; None when they are not within ``seconds``."""
    begin = time.monotonic()
    since: float | None = None
    while time.monotonic() - begin < seconds:
        if all(healthy(stage, service) for service in CALLED):
            since = since or time.monotonic()
            if time.monotonic() - since >= 2:
                return round(since - begin, 1)
        else:
            since = None
        time.sleep(0.1)
    return None


def container(stage: Stage, name: str, victim: Callable[[Stage], int]) -> dict[str, Any]:
    """kill -9 of one process, behind the engine's back (`docker kill` counts as stopped by hand: no restart)."""

    def change(traffic: Traffic) -> dict[str, Any]:
        os.kill(victim(stage), signal.SIGKILL)
        alone = wait_well(stage, PATIENCE)
        if alone is not None:
            return {"serving_after": alone, "help": "none"}
        begin = time.monotonic()
        for command in (["heal"], ["deploy", "--file", str(stage.kit.list_file)]):
            helped = f"iac {command[0]}"
            traffic.mark(helped)
            stage.kit.iac(*command, check=None)
            if wait_well(stage, PATIENCE / 2) is not None:
                return {"serving_after": round(PATIENCE + time.monotonic() - begin, 1), "help": helped}
        return {"serving_after": None, "help": "in vain: iac heal, iac deploy"}

    result = watch(f"kill -9: {name}", "both", senders(stage, "both", KILL_RATE), change, least=15)
    return converge(stage, result)


def mid_apply(stage: Stage, program: str) -> dict[str, Any]:
    """kill -9 in the middle of a deploy: as soon as a pod of the new generation runs."""

    def change(traffic: Traffic) -> dict[str, Any]:
        stage.version()
        before = set(stage.kit.pods().values())
        process = subprocess.Popen(
            [str(IAC), "deploy", "--file", str(stage.kit.list_file)],
            cwd=stage.kit.home,
            env={**os.environ, **stage.kit.env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not set(_pod_ids(stage)) - before and process.poll() is None:
            time.sleep(0.1)
        os.kill(process.pid if program == "iac" else _terraform(process.pid), signal.SIGKILL)
        process.wait(timeout=60)
        traffic.mark("nobody looks")
        time.sleep(UNNOTICED)
        traffic.mark("deploy again")
        again = stage.kit.iac("deploy", "--file", str(stage.kit.list_file), "--lock-wait", "60", check=None)
        return {"serving_after": wait_well(stage, PATIENCE), "help": f"iac deploy (exit {again.returncode})"}

    result = watch(f"kill -9: {program} in the middle of an apply", "both", senders(stage, "both", KILL_RATE), change)
    return converge(stage, result)


def _pod_ids(stage: Stage) -> list[str]:
    label = f"label=karst.stack={stage.kit.stack}"
    return stage.kit.docker("ps", "-q", "--no-trunc", "--filter", label, "--filter", "label=karst.role=pod").split()


def _terraform(parent: int) -> int:
    """The Terraform that ``parent`` runs, directly or not."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = path.read_text().split(" (", 1)
            name, fields = rest.rsplit(") ", 1)
        except OSError:
            continue
        if int(fields.split()[1]) == parent and name.startswith(("terraform", "tofu")):
            return int(number)
    raise RuntimeError("the deploy runs no Terraform")


def restart(engine: Engine) -> None:
    engine.stop()
    engine.start()


def kill(engine: Engine) -> None:
    engine.kill()
    engine.start()


def engine_event(stage: Stage, name: str, event: Callable[[Engine], None]) -> dict[str, Any]:
    """The whole engine goes and comes back; nobody helps."""
    engine = stage.kit.engine
    assert engine is not None

    def change(traffic: Traffic) -> dict[str, Any]:
        begin = time.monotonic()
        event(engine)
        down = time.monotonic() - begin
        after = None
        while after is None and time.monotonic() - begin < down + PATIENCE:
            if stage.kit.iac("health", check=None).returncode == 0:
                after = round(time.monotonic() - begin, 1)
        if after is None:
            traffic.mark("iac heal")
            stage.kit.iac("heal", check=None)
            return {
                "serving_after": round(time.monotonic() - begin, 1),
                "engine_away": round(down, 1),
                "help": "iac heal",
            }
        return {"serving_after": after, "engine_away": round(down, 1), "help": "none"}

    # From the host alone: a caller inside ends with its engine.
    result = watch(name, "edge", senders(stage, "edge", KILL_RATE), change)
    return converge(stage, result)


def converge(stage: Stage, result: dict[str, Any]) -> dict[str, Any]:
    """Deploy once more, and see whether all is well and the plan empty after it."""
    result["next_deploy"] = stage.deploy(check=None)
    result["pending"] = stage.pending()
    result["well"] = stage.kit.iac("health", check=None).returncode == 0
    change = {key: value for key, value in result["change"].items() if key != "said"}
    print(f"  {change}, plan after the next deploy {result['pending']}, well {result['well']}", flush=True)
    return result
