"""A small mesh without Terraform: pods of stand-ins, an edge and a neighbour container, up in a few seconds.

The image, the templates, the certificates and the way each container is started are the kit's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karst.identity import handle
from tests.support import envoy
from tests.support.kit import docker

STANDINS = Path(__file__).resolve().parents[1] / "mesh" / "standins"
LABEL = "karst.test"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")


@dataclass
class Pod:
    """One service.

    Attributes:
        name: the service.
        generation: tells two pods of one service apart; "" for the first.
        app: what runs in it: a stand-in in Python (environment BIND, PORT), ``python`` for HTTP or ``grpc`` for
            streams; ``h2c``; or "" for none.
        bind, port: where the Python stand-in listens.
        asked: the port the app was asked to use, as the sidecar is told.
        variables: changes to the template's defaults.
        aliases: further names on the network.
        environment: of the sidecar.
        edits: text of the sidecar's configuration to replace, for what would take an hour otherwise.
    """

    name: str
    generation: str = ""
    app: str = "python"
    bind: str = "127.0.0.1"
    port: int = 8000
    asked: int = 8000
    variables: dict[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    edits: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What its containers are called: app-<id>, sidecar-<id>, pod-<id>."""
        return self.name + self.generation


class Mesh:
    """Containers of one network. ``up`` starts them, ``close`` removes all that carries the label."""

    def __init__(self, folder: Path) -> None:
        self.id = f"mesh-{secrets.token_hex(4)}"
        self.network = f"karst-test-{self.id}"
        self.secrets = folder / "secrets"
        self.image = envoy.sidecar_image()
        self.base = envoy.base()
        self.owner = ""
        self.pods: dict[str, Pod] = {}

    def up(self, pods: list[Pod]) -> None:
        """Start pods, edge and neighbour, and wait until every app takes requests."""
        edge = envoy.render({"edge": (envoy.EDGE, envoy.edge_variables(network=self.network))})["edge"]
        docker("network", "create", "--label", f"{LABEL}={self.id}", self.network)
        self.run(
            "neighbour", "--network", self.network, *self._mounts(), image=self.base, command=["sleep", "infinity"]
        )
        self.add(pods)
        self._edge(edge)
        self.hand_out(*{pod.name for pod in pods}, "ops-edge", "ops-operator")
        self.await_ready(*(pod for pod in pods if pod.app))

    def add(self, pods: list[Pod]) -> None:
        """Start further pods, without waiting for them."""
        self.pods |= {pod.id: pod for pod in pods}
        result = self.issue()
        self.owner = f"{result['uid']}:{result['gid']}"
        configurations = envoy.render(
            {pod.id: (envoy.SIDECAR, envoy.sidecar_variables(pod.name, **pod.variables)) for pod in pods}
        )
        for pod in pods:
            for old, new in pod.edits.items():
                assert old in configurations[pod.id], old
                configurations[pod.id] = configurations[pod.id].replace(old, new)
            self._pod(pod, configurations[pod.id])

    def await_ready(self, *pods: Pod) -> None:
        """Wait until each of these very pods, asked by the name of its container, says that its app takes requests."""
        tasks = [
            {
                "host": self.name(f"pod-{pod.id}"),
                "port": 15000,
                "tls": True,
                "cert": f"{pod.name}.pem",
                "path": "/.karst/ready",
            }
            for pod in pods
        ]
        wait_until(
            lambda: all(answer.get("status") == 200 for answer in self.ask("neighbour", *tasks)),
            f"not ready: {[pod.id for pod in pods]}",
        )

    def issue(self) -> dict[str, str]:
        """Bring the certificates up to date, as Terraform does by its external."""
        names = [*{pod.name for pod in self.pods.values()}, "ops/edge", "ops/operator"]
        return handle({"secrets_dir": str(self.secrets), "services": json.dumps(names)})

    def _pod(self, pod: Pod, configuration: str) -> None:
        namespace = ("--network", f"container:{self.name(f'pod-{pod.id}')}")
        aliases = [word for alias in (pod.name, *pod.aliases) for word in ("--network-alias", alias)]
        rights = [f"--cap-add={name}" for name in ("NET_ADMIN", "SETUID", "SETGID", "SETPCAP")]
        self.run(
            f"pod-{pod.id}",
            *("--network", self.network, *aliases, "--user", "0:0", "--cap-drop", "ALL", *rights),
            *("--entrypoint", "/opt/karst/pod"),
        )
        if pod.app in ("python", "grpc"):
            settings = {"ME": pod.name, "BIND": pod.bind, "PORT": str(pod.port)}
            self.run(
                f"app-{pod.id}",
                *(*namespace, *HARDENED, "--user", "10001:10001", *self._mounts(), *_environment(settings)),
                image=self.base,
                command=["python3", "/standins/app.py" if pod.app == "python" else "/standins/grpc_stream.py"],
            )
        elif pod.app == "h2c":
            self.run(
                f"app-{pod.id}",
                *(*namespace, *HARDENED, "--user", "10001:10001", *self._mounts(), "--entrypoint", "/opt/karst/envoy"),
                command=["-c", "/standins/h2c.yaml", "--disable-hot-restart", "--log-level", "error"],
            )
        self.run(
            f"sidecar-{pod.id}",
            *(*namespace, *HARDENED, "--user", self.owner, "--tmpfs", "/run/karst:mode=1777"),
            *("--volume", f"{self.secrets}/mesh/{pod.name}:/secrets:ro", "--entrypoint", "/opt/karst/sidecar"),
            *_environment({"ENVOY_CONFIG": configuration, "PORT": str(pod.asked), **pod.environment}),
        )

    def _edge(self, configuration: str) -> None:
        ports = [word for port in (15000, 9901, 8088) for word in ("--publish", f"127.0.0.1::{port}")]
        self.run(
            "edge",
            *("--network", self.network, "--network-alias", "edge", *ports, *HARDENED, "--user", self.owner),
            *("--tmpfs", "/run/karst:mode=1777", "--volume", f"{self.secrets}/mesh/ops-edge:/secrets:ro"),
            *("--entrypoint", "/opt/karst/edge", *_environment({"ENVOY_CONFIG": configuration})),
        )

    def run(self, name: str, *options: str, image: str = "", command: list[str] | None = None) -> None:
        """`docker run` one container of this mesh."""
        labels = ("--label", f"{LABEL}={self.id}", "--name", self.name(name))
        docker("run", "--detach", *labels, *options, image or self.image, *(command or []))

    def name(self, container: str) -> str:
        return f"{self.id}-{container}"

    def logs(self, container: str) -> str:
        done = subprocess.run(["docker", "logs", self.name(container)], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def port(self, inside: int) -> int:
        """The host's port of one of the edge's."""
        return int(docker("port", self.name("edge"), str(inside)).splitlines()[0].rpartition(":")[2])

    def ask(self, container: str, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        """Have standins/client.py do ``tasks`` inside ``container``."""
        with self.asking(container, *tasks) as pending:
            return pending()

    @contextlib.contextmanager
    def asking(self, container: str, *tasks: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """The same beside what the caller does: the value is a function that waits for the answers.

        Without a ``container`` it is this machine that asks.
        """
        inside = ["docker", "exec", "-i", self.name(container), "python3", "/standins/client.py"]
        process = subprocess.Popen(
            inside if container else [sys.executable, str(STANDINS / "client.py")],
            env={**os.environ, "CERTIFICATES": str(self.certificates)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def answers() -> list[dict[str, Any]]:
            said, _ = process.communicate(timeout=50)
            decoded: list[dict[str, Any]] = json.loads(said)
            return decoded

        assert process.stdin
        process.stdin.write(json.dumps(tasks))
        process.stdin.close()
        process.stdin = None  # communicate() would flush it again
        with process:
            try:
                yield answers
            finally:
                process.kill()

    def call(self, caller: str, url: str, **more: Any) -> dict[str, Any]:
        """One request of ``caller``'s app through its sidecar."""
        [answer] = self.ask(f"app-{caller}", {"host": "127.0.0.1", "port": 15001, "url": url, **more})
        return answer

    def knock(self, cert: str, service: str, **more: Any) -> dict[str, Any]:
        """One TLS connection of the neighbour container to ``service``, with a certificate of `mesh/` or of its own."""
        [answer] = self.ask("neighbour", {"host": service, "port": 15000, "tls": True, "cert": cert, **more})
        return answer

    def _mounts(self) -> tuple[str, ...]:
        return ("--volume", f"{STANDINS}:/standins:ro", "--volume", f"{self.certificates}:/certificates:ro")

    @property
    def certificates(self) -> Path:
        """What the neighbour may hold: files put here are at /certificates in it."""
        folder = self.secrets.parent / "certificates"
        folder.mkdir(exist_ok=True)
        return folder

    def hand_out(self, *names: str) -> None:
        """Give the neighbour copies of what is in `mesh/` now: <name>.pem, and ca.pem."""
        for name in names:
            self.put(f"{name}.pem", (self.secrets / "mesh" / name / "svid.pem").read_bytes())
        self.put("ca.pem", (self.secrets / "ca.pem").read_bytes())

    def put(self, name: str, content: bytes) -> None:
        """Give the neighbour a file."""
        path = self.certificates / name
        path.write_bytes(content)
        path.chmod(0o644)

    def close(self) -> None:
        containers = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.id}").split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        if docker("network", "ls", "--quiet", "--filter", f"label={LABEL}={self.id}"):
            docker("network", "rm", self.network)


def wait_until(condition: Callable[[], bool], otherwise: str, *, seconds: float = 15) -> None:
    """Ask ``condition`` every 100 ms; fail with ``otherwise`` when it stays false."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)


def _environment(values: dict[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("--env", f"{name}={value}")]
