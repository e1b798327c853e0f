"""Three hosts: a roll-out over them, one of them killed, its pods moved, and the host back again; all under load."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.scenario import watch
from tests.chaos.stage import CALLED, write_app
from tests.chaos.traffic import Sender, Traffic, here, lanes
from tests.chaos.traffic import caller_lanes as caller
from tests.support.cluster import Cluster
from tests.support.spread import Spread

HERE = Path(__file__).resolve().parent
RATE = 50.0  # of HTTP and of gRPC, on each of two paths: 200 requests a second in all
REPLICAS = 3
DETECT_SECONDS = 40.0
# Runs in the caller's sidecar: at each change, how many pods of `web` its Envoy holds for healthy, and how many it has.
WATCH = """
import re, socket, time
PATH = "/stats?filter=DFPCluster_web.*membership_(healthy|total)"
GET = f"GET {PATH} HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n"
def ask():
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect("/run/karst/admin.sock")
        client.sendall(GET.encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
    found = dict(re.findall(r"membership_(healthy|total): (\\d+)", answer.decode()))
    return found.get("healthy", "0"), found.get("total", "0")
before = None
while True:
    now = ask()
    if now != before:
        print(time.time(), *now, flush=True)
        before = now
    time.sleep(0.05)
"""


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """Every step in its order; ``paths`` and ``only`` are for the parts whose runs do not depend on each other."""
    with tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder, Cluster.borrowed(3) as cluster:
        stage = Stage(Path(folder) / "stack", cluster)
        try:
            yield kept({"name": "first apply", "path": "", **stage.first()})
            yield {"name": "who answers", "path": "", **stage.answers()}
            yield kept(stage.watch("rolling deploy over the hosts", stage.roll))
            yield kept(stage.watch("a host killed", stage.kill, least=60))
            yield kept(stage.watch("its pods moved by an apply (`down: true`)", stage.move))
            yield kept(stage.watch("the host is back, and an apply", stage.back))
            yield {"name": "plan after all of it", "path": "", "change": {}, "pending": stage.spread.pending()}
        finally:
            stage.close()


def kept(result: dict[str, Any]) -> dict[str, Any]:
    """Without what programs said: it has paths of this run."""
    said = ("said", "unmarked")
    return {**result, "change": {key: value for key, value in result["change"].items() if key not in said}}


class Stage:
    """`web` and `rpc` in three pods each, and `caller` in one, on three hosts."""

    def __init__(self, home: Path, cluster: Cluster, **options: Any) -> None:
        self.spread = Spread(home, cluster, **{"drain_seconds": 20, "gate_timeout": 60, **options})
        self.kit = self.spread.kit
        for name in (*CALLED, "caller"):
            write_app(home / name, name)
        (home / "caller" / "load.py").write_bytes((HERE / "load.py").read_bytes())
        called = {"port": 8000, "allow": ["caller", "operator"], "otel": False, "replicas": REPLICAS}
        listed = [{"slug": "dir:web", "expose": True, **called}, {"slug": "dir:rpc", **called}]
        self.kit.write_list([*listed, {"slug": "dir:caller", "otel": False}])
        self._number = 1

    def first(self) -> dict[str, Any]:
        said = self.spread.apply()
        return {"change": said, "seconds": said["seconds"], "pods": self.places(), "pending": self.spread.pending()}

    # ----------------------------------------------------------------------------------------------- where things are
    def places(self) -> dict[str, dict[str, list[str]]]:
        """Host → service → names on the network of what runs there."""
        found: dict[str, dict[str, list[str]]] = self.spread.output("pods")
        return found

    @property
    def caller_host(self) -> str:
        return next(name for name, pods in self.places().items() if "caller" in pods)

    @property
    def victim(self) -> str:
        """A host that neither Terraform nor the load is on."""
        return next(n for n in reversed(self.spread.names) if n not in (self.spread.names[0], self.caller_host))

    def container(self, service: str, role: str, host: str) -> str:
        wanted = (f"karst.stack={self.kit.stack}", f"karst.service={service}", f"karst.role={role}")
        filters = [word for label in wanted for word in ("--filter", f"label={label}")]
        return self.spread.host(host).docker("ps", "-q", *filters).split()[0]

    def inside(self, service: str, role: str, host: str) -> list[str]:
        """What goes before a command that is to run in a container."""
        engine = [f"DOCKER_HOST=unix://{self.spread.host(host).socket}"]
        return ["env", *engine, "docker", "exec", "-i", self.container(service, role, host)]

    def senders(self) -> list[Sender]:
        at = self.caller_host
        python = subprocess.run(
            [*self.inside("caller", "app", at), "sh", "-c", "command -v python"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        folder, ports = self.kit.secrets_dir, self.kit.ports
        svid = str(folder / "mesh" / "ops-operator" / "svid.pem")
        tls = {"ca": str(folder / "ca.pem"), "cert": svid, "key": svid}
        web, rpc = ("127.0.0.1", ports["front_door"], "web.localhost"), ("127.0.0.1", ports["edge"], "rpc")
        return [
            Sender([*self.inside("caller", "app", at), python, "/app/load.py"], caller(RATE)),
            here(lanes("edge", web, rpc, rate=RATE, tls=tls), self.spread.door.prefix),
        ]

    def watch(self, name: str, change: Callable[[Traffic], dict[str, Any]], *, least: float = 27) -> dict[str, Any]:
        """``change`` under load, and what the caller's Envoy held for healthy meanwhile."""
        seen: list[list[float]] = []
        command = [*self.inside("caller", "sidecar", self.caller_host), "python3", "-IS", "-u", "-c", WATCH]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

        def read() -> None:
            assert process.stdout
            for text in process.stdout:
                seen.append([float(word) for word in text.split()])

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        began = time.time()
        try:
            result = watch(name, "both", self.senders(), change, least=least)
        finally:
            process.kill()
            process.wait()
        result["membership"] = [[round(at - began, 2), int(healthy), int(total)] for at, healthy, total in seen]
        if (cut := result["change"].get("cut")) is not None:
            gone = [at - cut for at, healthy, _ in seen if at > cut and healthy < REPLICAS]
            result["out_of_rotation_after"] = round(gone[0], 1) if gone else None
            print(f"  out of rotation after {result['out_of_rotation_after']} s", flush=True)
        print(f"  {({key: value for key, value in result['change'].items() if key != 'said'})}", flush=True)
        return result

    # ---------------------------------------------------------------------------------------------------- what is done
    def answers(self) -> dict[str, Any]:
        """Ask each pod of `web` and `rpc` for its health over mTLS from the door, by its own name."""
        found: dict[str, dict[str, str]] = {}
        for host, services in self.places().items():
            for service, pod in ((name, pod) for name, pods in services.items() for pod in pods):
                found.setdefault(service, {})[f"{host}/{pod}"] = self.spread.health(service, pod)
        print(json.dumps(found, indent=1), flush=True)
        return {"change": {}, "answers": found}

    def roll(self, _traffic: Traffic) -> dict[str, Any]:
        self._number += 1
        for service in CALLED:
            write_app(self.kit.home / service, service, f"v{self._number}")
        return self.spread.apply()

    def kill(self, traffic: Traffic) -> dict[str, Any]:
        """Pull the plug of a host, and do nothing for a while."""
        self.lost = self.victim
        cut = time.time()
        self.spread.cluster.power_off(self.spread.names.index(self.lost) + 1)
        traffic.mark("change")
        time.sleep(DETECT_SECONDS)
        return {"host": self.lost, "cut": cut}

    def move(self, _traffic: Traffic) -> dict[str, Any]:
        unmarked = self.spread.hosts(check=1).stderr.strip()
        self.spread.down.add(self.lost)
        return {**self.spread.apply(), "unmarked": unmarked, "pods": self.places()}

    def back(self, _traffic: Traffic) -> dict[str, Any]:
        self.spread.cluster.power_on(self.spread.names.index(self.lost) + 1)
        self.spread.down.clear()
        return {**self.spread.apply(), "pods": self.places()}

    def close(self) -> None:
        self.spread.down.clear()
        self.spread.destroy()
