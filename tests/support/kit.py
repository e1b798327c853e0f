"""The kit as its users run it: the `iac` command in a process of its own, on a stack that no other test shares."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
IAC = ROOT / "admin" / "iac"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


@dataclass
class Kit:
    """One stack in a folder of its own.

    Attributes:
        home: temporary folder: list, state, secrets.
        stack: random name.
        env: added to the environment of each command.
        engine: a private engine to work on; None is the shared one.
        program: the `iac` to run, this checkout's or another one's.
    """

    home: Path
    stack: str = field(default_factory=lambda: f"t{secrets.token_hex(3)}")
    env: dict[str, str] = field(default_factory=dict)
    engine: Engine | None = None
    program: Path = IAC

    def __post_init__(self) -> None:
        edge, metrics, front = free_ports(3)
        self.ports = {"edge": edge, "metrics": metrics, "front_door": front}
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "KARST_STACK": self.stack,
            "KARST_STATE_DIR": str(self.home / "state"),
            "KARST_SECRETS_DIR": str(self.secrets_dir),
            "KARST_EDGE_PORT": str(edge),
            "KARST_METRICS_PORT": str(metrics),
            "KARST_FRONT_DOOR_PORT": str(front),
            "KARST_DRAIN_SECONDS": "3",
            "NO_COLOR": "1",
            **(self.engine.env if self.engine else {}),
            **self.env,
        }

    @property
    def secrets_dir(self) -> Path:
        return self.home / "secrets"

    @property
    def list_file(self) -> Path:
        return self.home / "repos.yaml"

    @property
    def state_file(self) -> Path:
        return self.home / "state" / self.stack / "terraform.tfstate"

    def write_list(self, entries: list[Any]) -> None:
        """Write the list of slugs (JSON, which is YAML)."""
        self.list_file.write_text(json.dumps(entries, indent=2))

    def iac(self, *arguments: str, check: int | None = 0, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `iac`; fail with everything it said when the exit code is not ``check``."""
        done = subprocess.run(
            self.command(*arguments), **self.where, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check is not None and done.returncode != check:
            raise AssertionError(
                f"iac {' '.join(arguments)} ended with {done.returncode}, not {check}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def command(self, *arguments: str) -> list[str]:
        """The command line of `iac`, on the network that the engine is on."""
        return [*(self.engine.prefix if self.engine else []), str(self.program), *arguments]

    @property
    def where(self) -> dict[str, Any]:
        """Folder and environment of a command."""
        return {"cwd": self.home, "env": {**os.environ, **self.env}}

    def deploy(self, *, check: int | None = 0) -> list[dict[str, Any]]:
        """Deploy the list and return the events."""
        done = self.iac("deploy", "--file", str(self.list_file), "--events", check=check)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def health(self, *, check: int | None = 0) -> dict[str, dict[str, Any]]:
        """`iac health --json`, by service."""
        return {row["service"]: row for row in json.loads(self.iac("health", "--json", check=check).stdout)}

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """`docker inspect` of the stack's containers, stopped ones too."""
        wanted = [f"label=karst.stack={self.stack}"] + ([f"label=karst.service={service}"] if service else [])
        filters = [word for label in wanted for word in ("--filter", label)]
        ids = self.docker("ps", "-aq", *filters).split()
        return json.loads(self.docker("inspect", *ids)) if ids else []

    def ask(self, service: str, path: str = "/") -> str:
        """What a service with `expose: true` answers at the front door."""
        url = f"http://127.0.0.1:{self.ports['front_door']}{path}"
        request = urllib.request.Request(url, headers={"Host": f"{service}.localhost"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())

    def docker(self, *arguments: str, timeout: float = 60) -> str:
        """Run the docker client against the engine that the stack is on."""
        return (self.engine.docker if self.engine else docker)(*arguments, timeout=timeout)

    def pods(self) -> dict[str, str]:
        """Service → id of its pod container."""
        return {
            row["Config"]["Labels"]["karst.service"]: row["Id"]
            for row in self.containers()
            if row["Config"]["Labels"]["karst.role"] == "pod"
        }

    def images(self) -> dict[str, str]:
        """Service → id of the image that its app runs."""
        return {
            row["Config"]["Labels"]["karst.service"]: row["Image"]
            for row in self.containers()
            if row["Config"]["Labels"]["karst.role"] == "app"
        }

    def leftovers(self) -> dict[str, str]:
        """What the engine still has of the stack, by kind: empty strings after a destroy."""
        label = f"label=karst.stack={self.stack}"
        return {
            "containers": self.docker("ps", "-aq", "--filter", label),
            "networks": self.docker("network", "ls", "-q", "--filter", label),
            "volumes": self.docker("volume", "ls", "-q", "--filter", label),
            "images": self.docker("images", "-q", "--filter", label),
        }

    def destroy(self) -> None:
        self.iac("destroy", "--yes")

    @contextlib.contextmanager
    def deployed(self) -> Iterator[None]:
        """Deploy the list; destroy it afterwards, and see that the engine has nothing of it any more."""
        try:
            self.deploy()
            yield
        finally:
            self.destroy()
        left = self.leftovers()
        assert left == {"containers": "", "networks": "", "volumes": "", "images": ""}, left


def docker(*arguments: str, timeout: float = 60) -> str:
    """Run the docker client and return what it prints."""
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=True
    ).stdout.strip()
