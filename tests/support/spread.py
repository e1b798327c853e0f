"""A stack on several hosts as its users run it: the list of hosts, scripts/hosts, Terraform in the root envs/hosts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from karst.toolchain import base_image, record
from tests.support import images
from tests.support.cluster import Cluster
from tests.support.engine import Engine
from tests.support.kit import ROOT, Kit

NAMES = "abcdefgh"


class Spread:
    """One stack on all hosts of a cluster, which are named a, b, c …; Terraform runs on the first that is not down.

    Attributes:
        mode: `docker` or `swarm`, what `scripts/hosts --engine` is told.
        kit: name, folders and ports of the stack; its `iac` is not for several hosts.
        root: a copy of envs/hosts, so that the checkout stays as it is.
        env: added to the environment of each command.
        down: names of hosts that the list calls so.
        drain: the same.
    """

    def __init__(self, home: Path, cluster: Cluster, mode: str = "docker", **variables: Any) -> None:
        self.cluster = cluster
        self.mode = mode
        self.kit = Kit(home, engine=cluster.hosts[0])
        self.root = home / "root"
        self.root.mkdir()
        for path in (ROOT / "envs" / "hosts").glob("*.tf"):
            shutil.copy2(path, self.root)
        self.env: dict[str, str] = {}
        self.down: set[str] = set()
        self.drain: set[str] = set()
        values = {
            "slugs_file": str(self.kit.list_file),
            "network_name": f"net-{self.kit.stack}",
            "ports": self.kit.ports,
            "secrets_dir": str(self.kit.secrets_dir),
            "log_dir": str(home / "logs"),
            "base_image": images.base(),
            "build_ca_file": base_image.build_ca_file() or "",
            **variables,
        }
        (self.root / "test.auto.tfvars.json").write_text(json.dumps(values))

    def host(self, name: str) -> Engine:
        return self.cluster.hosts[NAMES.index(name)]

    @property
    def names(self) -> list[str]:
        return list(NAMES[: len(self.cluster.hosts)])

    @property
    def door(self) -> Engine:
        """Where Terraform runs, and whose edge the gates ask."""
        return self.host(next(name for name in self.names if name not in self.down | self.drain))

    def hosts(self, *terraform: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Write the list of hosts, and run scripts/hosts, which then runs Terraform with these arguments."""
        listed = [
            {"name": name, "docker_host": f"unix://{self.host(name).socket}"}
            | ({"down": True} if name in self.down else {})
            | ({"drain": True} if name in self.drain else {})
            for name in self.names
        ]
        path = self.kit.home / "hosts.yaml"
        path.write_text(yaml.safe_dump(listed, sort_keys=False))
        options = ["--root", str(self.root), "--stack", self.kit.stack, "--engine", self.mode, str(path)]
        return self._run([str(ROOT / "scripts" / "hosts"), *options, *terraform], check, timeout=900)

    def apply(self, *, check: int | None = 0) -> dict[str, Any]:
        """`scripts/hosts hosts.yaml apply`; the seconds that it took, its exit code and its words."""
        begin = time.monotonic()
        done = self.hosts("apply", "-auto-approve", "-no-color", check=check)
        took = round(time.monotonic() - begin, 1)
        return {"seconds": took, "exit": done.returncode, "said": (done.stdout + done.stderr).splitlines()[-200:]}

    def pending(self) -> int:
        """Exit code of a plan: 0 when the next apply would change nothing, 2 when it would."""
        return self.terraform("plan", "-detailed-exitcode", "-no-color", check=None).returncode

    def health(self, service: str, pod: str) -> str:
        """What scripts/health says of one pod, asked over mTLS at the door's edge."""
        options = ["--address", f"127.0.0.1:{self.kit.ports['edge']}", "--secrets", str(self.kit.secrets_dir)]
        done = self._run([str(ROOT / "scripts" / "health"), service, "--sni", pod, *options], None)
        return done.stdout.strip() or done.stderr.strip()

    def output(self, name: str) -> Any:
        return json.loads(self.terraform("output", "-json", name).stdout)

    def terraform(self, *arguments: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run Terraform on the door's network."""
        return self._run([record.terraform_command(), f"-chdir={self.root}", *arguments], check, timeout=900)

    def destroy(self) -> None:
        self.terraform("destroy", "-auto-approve", "-no-color", "-refresh=false")

    def _run(self, command: list[str], check: int | None, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        env = {**record.terraform_environment(), "CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "NO_COLOR": "1"}
        env.pop("DOCKER_HOST", None)
        done = subprocess.run(
            [*self.door.prefix, *command],
            cwd=self.kit.home,
            env={**os.environ, **env, **self.env},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check is not None and done.returncode != check:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-80:])
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}, not {check}\n{said}")
        return done
