"""Other ways to replace a container, under the same load: Docker Compose v2, and plain Terraform.

The apps, their packages and the load are the stage's: the peers' images are made from its caller's. Both peers get an
init process, so that SIGTERM ends their apps, and Docker's published ports and names, which is what they come with.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karst.toolchain import record
from tests.chaos.scenario import watch
from tests.chaos.stage import CALLED, CRASH, HERE, Stage, quiet_ports, write_app
from tests.chaos.traffic import Sender, Traffic, here, lanes
from tests.support.kit import docker

FILES = Path(__file__).resolve().parent
OBSERVED = 20.0  # seconds after a bad deploy: does it come back by itself?
IMAGE = "karst-chaos-base:latest"  # a name, because the classic builder takes no image id of another builder
# The labels that come with the image would make the peers' containers the kit's.
DOCKERFILE = f"""
FROM {IMAGE}
LABEL karst.stack="" karst.service=""
COPY . /app/
ENTRYPOINT []
CMD ["python", "/app/main.py"]
"""


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """A good and a bad deploy by each peer whose label has ``only`` in it, on each of ``paths``."""
    with tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder:
        stage = Stage(Path(folder) / "stack")
        try:
            stage.deploy()
            docker("tag", stage.container("caller", "app")["Image"], IMAGE)
            for kind in (Compose, PlainTerraform):
                if only not in kind.label:
                    continue
                peer = kind(Path(folder) / kind.__name__)
                try:
                    peer.up()
                    for path in paths:
                        yield from peer.scenarios(path)
                finally:
                    peer.down()
        finally:
            stage.close()
            subprocess.run(["docker", "rmi", IMAGE], capture_output=True, check=False)


class Peer:
    """One project of a peer, in a folder of its own."""

    label = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"karst-chaos-{secrets.token_hex(3)}"
        self.ports = dict(zip(CALLED, quiet_ports(2), strict=True))
        for service in (*CALLED, "caller"):
            write_app(folder / service, service)
            (folder / service / "Dockerfile").write_text(DOCKERFILE)
        shutil.copy2(HERE / "load.py", folder / "caller" / "load.py")
        self._number = 1

    def up(self) -> int:
        """Bring up what the folder says; return the exit code."""
        raise NotImplementedError

    def down(self) -> None:
        """Remove everything."""
        raise NotImplementedError

    def caller(self) -> str:
        """Name of the caller's container."""
        raise NotImplementedError

    def scenarios(self, path: str) -> Iterator[dict[str, Any]]:
        """A good deploy, a bad one, and back to a good one, which has to work before the next path."""

        def good(_: Traffic) -> dict[str, Any]:
            self._number += 1
            for service in CALLED:
                write_app(self.folder / service, service, f"v{self._number}")
            return {"exit": self.up()}

        def bad(_: Traffic) -> dict[str, Any]:
            self._number += 1
            for service in CALLED:
                (self.folder / service / "main.py").write_text(f"# {self._number}\n{CRASH}")
            return {"exit": self.up()}

        time.sleep(3)
        yield watch(f"{self.label}: good deploy", path, [self.sender(path)], good)
        yield watch(f"{self.label}: bad deploy", path, [self.sender(path)], bad, after=OBSERVED)
        good(Traffic([]))

    def sender(self, path: str) -> Sender:
        """The load of ``path``: from the caller by the services' names, or from the host by published ports."""
        if path == "edge":
            return here(lanes(path, *(("127.0.0.1", self.ports[name], name) for name in CALLED)))
        command = ["docker", "exec", "-i", self.caller(), "python", "/app/load.py"]
        return Sender(command, lanes(path, *((name, 8000, name) for name in CALLED)))

    def _run(self, *command: str, env: dict[str, str] | None = None) -> int:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        (self.folder / "log").write_text(done.stdout + done.stderr)
        return done.returncode


class Compose(Peer):
    """`docker compose up -d --build`."""

    label = "Docker Compose"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copy2(FILES / "compose.yaml", folder / "compose.yaml")
        program = record.tool("docker-compose")
        if program is None:
            raise RuntimeError("no Docker Compose: `scripts/toolchain/tool docker-compose` builds it")
        self._program = program

    def _compose(self, *arguments: str) -> int:
        ports = {f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        return self._run(self._program, "--project-name", self.name, *arguments, env={**ports, "COMPOSE_BAKE": "false"})

    def up(self) -> int:
        return self._compose("up", "--detach", "--build")

    def down(self) -> None:
        self._compose("down", "--rmi", "all", "--volumes", "--timeout", "1")

    def caller(self) -> str:
        return f"{self.name}-caller-1"


class PlainTerraform(Peer):
    """`terraform apply` of `docker_container`, as its documentation shows it."""

    label = "plain Terraform"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copy2(FILES / "main.tf", folder / "main.tf")
        (folder / "terraform.tfvars.json").write_text(json.dumps({"name": self.name, "ports": self.ports}))

    def _terraform(self, *arguments: str) -> int:
        return self._run(record.terraform_command(), *arguments, env=record.terraform_environment())

    def up(self) -> int:
        if not (self.folder / ".terraform").exists() and self._terraform("init", "-input=false"):
            raise RuntimeError(f"terraform init failed:\n{(self.folder / 'log').read_text()}")
        return self._terraform("apply", "-auto-approve", "-input=false")

    def down(self) -> None:
        self._terraform("destroy", "-auto-approve", "-input=false")

    def caller(self) -> str:
        return f"{self.name}-caller"
