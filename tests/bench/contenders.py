"""What is measured side by side: one interface, the kit behind it, and what all of them share."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst.probe import probe, ready
from karst.toolchain import record
from karst.tunnel import Unreachable, connect, get
from tests.bench.processes import Counter
from tests.bench_build.builds import docker_build
from tests.support.kit import IAC, ROOT, Kit

LIMIT = 420.0  # seconds that one command may take
MANY = 10  # with more services, what says the same as something else is left out, and things are done fewer times
POLL = 0.05
PORT_INSIDE = {"edge": 15000, "metrics": 9901, "front_door": 8088}
# The smallest server: what is measured is the tools. Its version tells when a change has arrived.
APP = '''\
"""Answers every GET with its version."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = b"v1"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION)


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
'''


class Failed(Exception):
    """A command failed, or its services did not come up: one sentence."""


@dataclass(frozen=True)
class Cost:
    """What one command cost: seconds until it had ended, its processor time, and the processes it started."""

    seconds: float
    cpu: float
    processes: int | None


def names(count: int) -> list[str]:
    return [f"s{number:03}" for number in range(1, count + 1)]


def write_app(folder: Path, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(APP.replace("v1", version))


def run(command: list[str], *, cwd: Path, env: dict[str, str], expect: int = 0) -> Cost:
    """Run it to its end; Failed with its last line when it ends otherwise than expected."""
    log = cwd / "log"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Counter() as counter, log.open("wb") as sink:
        begin = time.monotonic()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed(f"{Path(command[0]).name} {command[1]}: not done after {LIMIT:g} s") from None
        finally:
            if process.poll() is None:  # also when the bench itself is ended: what it has begun is removed next
                process.terminate()
                process.wait(90)
        seconds = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != expect:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip(" │╷╵")]
        raise Failed(f"{Path(command[0]).name} {command[1]} ended with {process.returncode}: {' '.join(said[-4:])}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(round(seconds, 3), round(cpu, 3), counter.count(process.pid))


class Contender:
    """One way to run the same services. Every method but ``close`` raises Failed.

    Attributes:
        label: what tables and pictures call it.
        awaits: whether ``create`` returns only when every service answers.
    """

    label = ""
    awaits = False

    def __init__(self, folder: Path, kit: Kit, count: int) -> None:
        self.folder, self.kit, self.services = folder, kit, names(count)
        folder.mkdir(parents=True, exist_ok=True)

    def build(self, *, shared: bool = False) -> None:
        """Have every image there, so that ``create`` finds it; or only those that all services share."""
        raise NotImplementedError

    def create(self) -> Cost:
        raise NotImplementedError

    def looks(self) -> dict[str, Callable[[], Cost]]:
        """What changes nothing when nothing is to be done, by the names of deploys.OPERATIONS."""
        raise NotImplementedError

    def change(self) -> Cost:
        """Deploy what was written by ``write``."""
        raise NotImplementedError

    def write(self, service: str, version: str) -> None:
        write_app(self.folder / service, version)

    def destroy(self) -> Cost:
        raise NotImplementedError

    def close(self) -> None:
        """Remove everything that is still there."""
        raise NotImplementedError

    def answers(self, service: str, version: str) -> bool:
        """Whether the service, asked by its name over mTLS, answers with this version."""
        try:
            tls = connect(service, self.address, self.kit.secrets_dir, protocol="http/1.1")
            return version.encode() == get(tls, service, "/")[1]
        except (Unreachable, OSError):
            return False

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.kit.ports["edge"])

    def wait(self, timeout: float = 120.0) -> None:
        """Until every service is what the kit's gate calls healthy: asked the same way, by one process for all."""
        end = time.monotonic() + timeout
        with ThreadPoolExecutor(max_workers=8) as pool:
            well = list(pool.map(lambda service: self._up(service, end), self.services))
        if late := [name for name, up in zip(self.services, well, strict=True) if not up]:
            raise Failed(f"{self.label}: {', '.join(late[:3])}{' …' if late[3:] else ''} not up after {timeout:g} s")

    def _up(self, service: str, end: float) -> bool:
        where: dict[str, Any] = {"address": self.address, "secrets_dir": self.kit.secrets_dir}
        while time.monotonic() < end:
            health = probe(service, **where)
            if health.healthy and (not health.app_port or ready(service, **where)):
                return True
            time.sleep(POLL)
        return False


class Karst(Contender):
    """The kit: `iac deploy`."""

    label = "KarstKit"
    awaits = True

    def __init__(self, folder: Path, kit: Kit, count: int) -> None:
        super().__init__(kit.home, kit, count)
        for name in self.services:
            write_app(kit.home / name, "v1")
        kit.write_list([{"slug": f"dir:{name}", "allow": ["operator"]} for name in self.services])
        self.env = {**os.environ, **kit.env}
        self.home = kit.home / "state" / kit.stack

    def _iac(self, verb: str, *arguments: str) -> Cost:
        return run([str(IAC), verb, *arguments], cwd=self.kit.home, env=self.env)

    def build(self, *, shared: bool = False) -> None:
        """Plan, and build what the plan would, with its own names and labels."""
        listed = ["--file", str(self.kit.list_file)]
        self._iac("plan", *listed)
        shown = self._terraform("show", "-json", str(self.home / "karst.tfplan"))
        plan = json.loads(subprocess.run(shown[0], env=shown[1], capture_output=True, check=True).stdout)
        for change in plan["resource_changes"]:
            after = change["change"].get("after") or {}
            if change["type"] == "docker_image" and after.get("build") and not (shared and change["name"] == "app"):
                build = after["build"][0]
                words = [f"--label={key}={value}" for key, value in (build["label"] or {}).items()]
                words += [f"--build-arg={key}={value}" for key, value in (build["build_args"] or {}).items()]
                docker_build(Path(build["context"]), after["name"], *words)

    def create(self) -> Cost:
        return self._iac("deploy", "--file", str(self.kit.list_file))

    change = create

    def looks(self) -> dict[str, Callable[[], Cost]]:
        told = {"told": self._told_plan} if len(self.services) <= MANY else {}
        return {"plan": self._plan, **told, "again": self.create}

    def _plan(self) -> Cost:
        """Terraform's own plan of the kit's root, with the variables of the deploy."""
        command, env = self._terraform("plan", "-input=false", "-detailed-exitcode", "-lock=false")
        return run([*command, f"-var-file={self.home / 'karst.tfvars.json'}"], cwd=self.kit.home, env=env)

    def _told_plan(self) -> Cost:
        """`iac plan`: the same, saved and told service by service."""
        return self._iac("plan", "--file", str(self.kit.list_file), "--detailed-exitcode")

    def destroy(self) -> Cost:
        return self._iac("destroy", "--yes", "--keep-images")

    def close(self) -> None:
        self.kit.iac("destroy", "--yes", check=None)
        self.kit.iac("destroy", "--yes", check=None)  # without a state: what is left by label, the images too

    def _terraform(self, verb: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        env = {**record.terraform_environment(self.env), "TF_DATA_DIR": str(self.home / "terraform")}
        return [record.terraform_command(), f"-chdir={ROOT / 'envs' / 'local'}", verb, *arguments], env

    def facts(self) -> dict[str, Any]:
        """What the stack's containers are made of, for those who run the same without the kit."""
        rows = {
            (row["Config"]["Labels"]["karst.service"], row["Config"]["Labels"]["karst.role"]): row
            for row in self.kit.containers()
        }
        state = json.loads(self.kit.state_file.read_text())
        outputs = state["outputs"]["services"]["value"]
        images = {
            str(one.get("index_key", resource["name"])): one["attributes"]["name"]
            for resource in state["resources"]
            if resource["type"] == "docker_image" and resource["name"] in ("infra", "edge")
            for one in resource["instances"]
        }
        mounts = {key: [m["Source"] for m in row["Mounts"] if m["Type"] == "bind"] for key, row in rows.items()}
        edge = rows["edge", "edge"]
        return {
            "images": {name: images[name] for name in ("sidecar", "edge")},
            "user": edge["Config"]["User"],
            "edge": {
                "env": _own(edge),
                "identity": mounts["edge", "edge"][0],
                "ports": {str(inside): self.kit.ports[name] for name, inside in PORT_INSIDE.items()},
            },
            "apps": {name: outputs[name]["image"] for name in self.services},
            "services": {
                name: {
                    "app_env": _own(rows[name, "app"]),
                    "sidecar_env": _own(rows[name, "sidecar"]),
                    "identity": mounts[name, "sidecar"][0],
                }
                for name in self.services
            },
        }


def _own(row: dict[str, Any]) -> list[str]:
    """The container's environment, without what comes from its image."""
    said = subprocess.run(["docker", "image", "inspect", row["Image"]], capture_output=True, text=True, check=True)
    given = set(json.loads(said.stdout)[0]["Config"]["Env"] or [])
    return [pair for pair in row["Config"]["Env"] if pair not in given]
