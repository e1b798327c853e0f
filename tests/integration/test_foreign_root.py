"""Somebody else's Terraform repository pulls the modules by git, with an empty cache and no bootstrap before."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment
from tests.integration.conftest import JOB
from tests.support.envoy import base
from tests.support.kit import ROOT, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]

MAIN = """
variable "settings" { type = any }

provider "docker" {}

terraform {
  required_providers {
    docker = {
      source = "kreuzwerker/docker"
    }
  }
  backend "local" {
    path = "theirs.tfstate"
  }
}

resource "docker_network" "theirs" {
  name = "theirs-${var.settings.stack}"

  labels {
    label = "karst.stack"
    value = var.settings.stack
  }
}

module "services" {
  source        = "git::file://SOURCE//modules/karst_service"
  stack         = var.settings.stack
  slugs         = [{ slug = "dir:job" }, { slug = "dir:server", port = 8123 }]
  network       = docker_network.theirs.id
  network_name  = "theirs"
  secrets_dir   = "${path.root}/keys"
  base_image    = var.settings.base_image
  build_ca_file = var.settings.build_ca_file
}

output "services" {
  value = module.services.services
}
"""

SERVER = """\
from http.server import HTTPServer, SimpleHTTPRequestHandler

HTTPServer(("127.0.0.1", 8123), SimpleHTTPRequestHandler).serve_forever()
"""


def _publish(folder: Path) -> Path:
    """A bare repository with what git would commit of this checkout."""
    files = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    ).stdout
    work = folder / "work"
    work.mkdir()
    present = b"\0".join(name for name in files.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    pack = subprocess.run(
        ["tar", "-C", str(ROOT), "--null", "-T", "-", "-c"], input=present, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-C", str(work), "-x"], input=pack, check=True)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(work)]
    for arguments in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "--no-verify", "-m", "published"]):
        subprocess.run([*git, *arguments], check=True)
    bare = folder / "karstkit.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    return bare


def test_a_foreign_root_gets_running_services_from_the_module_alone(tmp_path: Path) -> None:
    """Its own network and state, no edge: the gate asks the pods; the second plan is empty; destroy leaves nothing."""
    kit = Kit(tmp_path / "unused")
    root = tmp_path / "theirs"
    for name, text in (("job", JOB), ("server", SERVER)):
        (root / name).mkdir(parents=True)
        (root / name / "main.py").write_text(text)
    (root / "main.tf").write_text(MAIN.replace("SOURCE", str(_publish(tmp_path))))
    toolchain = json.loads((ROOT / "envs" / "local" / "toolchain.auto.tfvars.json").read_text())
    settings = {"stack": kit.stack, "base_image": base(), "build_ca_file": toolchain["build_ca_file"]}
    (root / "settings.auto.tfvars.json").write_text(json.dumps({"settings": settings}))
    environment = {k: v for k, v in terraform_environment().items() if not k.startswith("KARST_")}
    environment |= {"KARST_CACHE": str(tmp_path / "cache"), "CHECKPOINT_DISABLE": "1"}

    def terraform(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [terraform_command(), f"-chdir={root}", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout

    terraform("init", "-no-color", "-input=false")
    try:
        terraform("apply", "-no-color", "-auto-approve")
        services = json.loads(terraform("output", "-json", "services"))
        assert {name: one["address"] for name, one in services.items()} == {
            "job": "job:15000",
            "server": "server:15000",
        }
        assert {row["State"]["Status"] for row in kit.containers()} == {"running"}
        terraform("plan", "-no-color", "-detailed-exitcode")
        assert (root / "theirs.tfstate").exists()
        assert (root / "keys" / "ca.key").stat().st_mode & 0o777 == 0o600
    finally:
        terraform("destroy", "-no-color", "-auto-approve", "-refresh=false", codes=(0, 1))
        subprocess.run(
            f"docker rmi $(docker images -q --filter label=karst.stack={kit.stack})",
            shell=True,
            capture_output=True,
            check=False,
        )
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}
