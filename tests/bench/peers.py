"""The same containers without the kit: bare Terraform resources written by hand, and Docker Compose v2.

Images, configuration, identities and limits are those of the kit's own containers, read from them. The peers' apps are
built on the kit's images, with a Dockerfile of two lines.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from karst.toolchain import record, tools
from tests.bench.contenders import MANY, Contender, Cost, Failed, run, write_app
from tests.bench_build.builds import docker_build
from tests.support.kit import Kit

BARE = Path(__file__).resolve().parent / "bare"
# The labels that come with the image would make the peers' containers the kit's.
DOCKERFILE = 'FROM {image}\nLABEL karst.stack="" karst.service="" karst.kind=""\nCOPY main.py /app/main.py\n'


class Peer(Contender):
    """One project in a folder of its own, made of ``facts`` (contenders.Karst.facts)."""

    def __init__(self, folder: Path, kit: Kit, count: int, facts: dict[str, Any]) -> None:
        super().__init__(folder, kit, count)
        self.name = f"{kit.stack}-{self.label.split()[0].lower()}"
        self.facts = facts
        for service in self.services:
            write_app(folder / service, "v1")
            text = DOCKERFILE.format(image=facts["apps"][service])
            (folder / service / "Dockerfile").write_text(text)

    def close(self) -> None:
        """Also where the tool itself cannot: by name and label."""
        try:
            self.destroy()
        except Failed as err:
            print(f"{self.label}: {err}; removing what is left by name", flush=True)
        _remove(["docker", "ps", "-aq", "--filter", f"name=^/{self.name}-"], "rm", "--force")
        _remove(["docker", "network", "ls", "-q", "--filter", f"name=^{self.name}"], "network", "rm")
        _remove(["docker", "images", "-q", "--filter", f"reference={self.name}/*"], "rmi", "--force")


class Bare(Peer):
    """`terraform apply` of the provider's own resources, as tests/bench/bare/main.tf has them."""

    label = "bare Terraform"

    def __init__(self, folder: Path, kit: Kit, count: int, facts: dict[str, Any]) -> None:
        super().__init__(folder, kit, count, facts)
        shutil.copy2(BARE / "main.tf", folder / "main.tf")
        values = {key: facts[key] for key in ("images", "user", "edge", "services")} | {"name": self.name}
        (folder / "terraform.tfvars.json").write_text(json.dumps(values))
        self._terraform("init")

    def _terraform(self, verb: str, *arguments: str) -> Cost:
        env = {**record.terraform_environment(), "CHECKPOINT_DISABLE": "1"}
        return run([record.terraform_command(), verb, "-input=false", *arguments], cwd=self.folder, env=env)

    def build(self, *, shared: bool = False) -> None:
        """By name and hash, as main.tf calls them, with the layers that it will find in the builder's cache."""
        for service in self.services:
            docker_build(self.folder / service, f"{self.name}/{service}:there")

    def create(self) -> Cost:
        return self._terraform("apply", "-auto-approve")

    change = create

    def looks(self) -> dict[str, Callable[[], Cost]]:
        again = {"again": self.create} if len(self.services) <= MANY else {}
        return {"plan": self._plan, **again}

    def _plan(self) -> Cost:
        return self._terraform("plan", "-detailed-exitcode")

    def destroy(self) -> Cost:
        return self._terraform("destroy", "-auto-approve")


class Compose(Peer):
    """`docker compose up -d` of the same containers."""

    label = "Compose"

    def __init__(self, folder: Path, kit: Kit, count: int, facts: dict[str, Any]) -> None:
        super().__init__(folder, kit, count, facts)
        tools.get("docker-compose")
        self._program = record.tool("docker-compose") or "docker-compose"
        (folder / "compose.yaml").write_text(json.dumps(_project(self.name, facts), indent=1).replace("$", "$$"))
        self._changed: list[str] = []

    def _compose(self, *arguments: str) -> Cost:
        return run([self._program, *arguments], cwd=self.folder, env={**os.environ, "COMPOSE_BAKE": "false"})

    def build(self, *, shared: bool = False) -> None:
        for service in self.services:
            docker_build(self.folder / service, f"{self.name}/{service}")

    def create(self) -> Cost:
        return self._compose("up", "--detach")

    def looks(self) -> dict[str, Callable[[], Cost]]:
        return {"again": self.create}

    def write(self, service: str, version: str) -> None:
        super().write(service, version)
        self._changed = [f"app-{service}"]

    def change(self) -> Cost:
        """Who uses it knows what has changed: everything built anew would take longer with every service."""
        return self._compose("up", "--detach", "--no-deps", "--build", *self._changed)

    def destroy(self) -> Cost:
        return self._compose("down")


def _project(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The Compose file (JSON, which is YAML)."""
    scratch = ["/run/karst:rw,nosuid,nodev,noexec,size=4m,mode=1777", "/tmp:rw,nosuid,nodev,noexec,size=4m,mode=1777"]
    closed = {"restart": "unless-stopped", "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    envoy = {**closed, "user": facts["user"], "read_only": True, "tmpfs": scratch, "mem_limit": "256m"}
    edge = facts["edge"]
    services: dict[str, Any] = {
        "edge": {
            **envoy,
            "image": facts["images"]["edge"],
            "entrypoint": ["/opt/karst/edge"],
            "environment": edge["env"],
            "stop_grace_period": "10s",
            "volumes": [f"{edge['identity']}:/secrets:ro"],
            "ports": [f"127.0.0.1:{outside}:{inside}" for inside, outside in edge["ports"].items()],
            "networks": ["mesh"],
        }
    }
    for service, one in facts["services"].items():
        services[f"pod-{service}"] = {
            **closed,
            "image": facts["images"]["sidecar"],
            "entrypoint": ["/opt/karst/pod"],
            "user": "0:0",
            "init": True,
            "cap_add": ["NET_ADMIN", "SETGID", "SETPCAP", "SETUID"],
            "mem_limit": "32m",
            "networks": {"mesh": {"aliases": [service]}},
        }
        services[f"app-{service}"] = {
            **closed,
            "build": f"./{service}",
            "image": f"{name}/{service}",
            "network_mode": f"service:pod-{service}",
            "environment": one["app_env"],
            "read_only": True,
            "tmpfs": ["/tmp:rw,nosuid,nodev,size=256m,mode=1777"],
            "ulimits": {"nproc": 8192},
            "stop_grace_period": "15s",
        }
        services[f"sidecar-{service}"] = {
            **envoy,
            "image": facts["images"]["sidecar"],
            "entrypoint": ["/opt/karst/sidecar"],
            "network_mode": f"service:pod-{service}",
            "environment": one["sidecar_env"],
            "volumes": [f"{one['identity']}:/secrets:ro"],
            "stop_grace_period": "30s",
        }
    return {"name": name, "services": services, "networks": {"mesh": {}}}


def _remove(listing: list[str], *verb: str) -> None:
    found = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.split()
    if found:
        subprocess.run(["docker", *verb, *dict.fromkeys(found)], capture_output=True, check=False)
