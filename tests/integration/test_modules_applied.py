"""Both modules in a foreign root: outputs, what waits for the gates, states taken over after a rename."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment
from tests.integration.conftest import JOB
from tests.support.envoy import base
from tests.support.kit import ROOT, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

MAIN = """
variable "settings" { type = any }

provider "docker" {}

terraform {
  required_providers {
    docker = {
      source = "kreuzwerker/docker"
    }
  }
}

module "mesh" {
  source        = "./kit/modules/karst_mesh"
  stack         = var.settings.stack
  network_name  = "net-${var.settings.stack}"
  ports         = var.settings.ports
  trust_domain  = "acme.example"
  secrets_dir   = "${path.root}/keys"
  base_image    = var.settings.base_image
  build_ca_file = var.settings.build_ca_file
}

module "services" {
  source        = "./kit/modules/karst_service"
  stack         = module.mesh.stack
  network       = module.mesh.network_id
  network_name  = module.mesh.network_name
  edge          = module.mesh.edge
  trust_domain  = module.mesh.trust_domain
  slugs         = ["dir:job"]
  secrets_dir   = "${path.root}/keys"
  base_image    = var.settings.base_image
  build_ca_file = var.settings.build_ca_file
}

# Made after the gate, because it uses an endpoint.
resource "terraform_data" "user" {
  input = module.services.endpoints["job"].edge

  provisioner "local-exec" {
    command = "docker ps -q --filter label=karst.stack=${var.settings.stack} --filter label=karst.role=sidecar > seen"
  }
}

output "services" {
  value = {
    endpoints  = module.services.endpoints
    identities = module.services.identities
    revisions  = module.services.revisions
    labels     = module.services.labels
  }
}

output "mesh" {
  value = { endpoints = module.mesh.endpoints, operator = module.mesh.operator, labels = module.mesh.labels }
}
"""


@dataclass
class Applied:
    """A root that was applied once."""

    kit: Kit
    root: Path

    def terraform(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [terraform_command(), f"-chdir={self.root}", *arguments],
            env={**terraform_environment(), "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    """One job behind an edge, from a copy of the modules that a test may change."""
    kit = Kit(tmp_path_factory.mktemp("kit"))
    root = tmp_path_factory.mktemp("theirs")
    (root / "job").mkdir()
    (root / "job" / "main.py").write_text(JOB)
    (root / "kit").mkdir()
    (root / "kit" / "scripts").symlink_to(ROOT / "scripts")
    shutil.copytree(ROOT / "modules", root / "kit" / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "main.tf").write_text(MAIN)
    toolchain = json.loads((ROOT / "envs" / "local" / "toolchain.auto.tfvars.json").read_text())
    settings = {
        "stack": kit.stack,
        "ports": kit.ports,
        "base_image": base(),
        "build_ca_file": toolchain["build_ca_file"],
    }
    (root / "settings.auto.tfvars.json").write_text(json.dumps({"settings": settings}))
    one = Applied(kit, root)
    one.terraform("init", "-no-color", "-input=false")
    try:
        one.terraform("apply", "-no-color", "-auto-approve")
        yield one
    finally:
        one.terraform("destroy", "-no-color", "-auto-approve", "-refresh=false", codes=(0, 1))
        subprocess.run(
            f"docker rmi $(docker images -q --filter label=karst.stack={kit.stack})",
            shell=True,
            capture_output=True,
            check=False,
        )
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}


def test_builders_get_endpoints_identities_revisions_and_labels(applied: Applied) -> None:
    """With the real providers, and another trust domain than the default one."""
    services = json.loads(applied.terraform("output", "-json", "services"))
    edge = f"127.0.0.1:{applied.kit.ports['edge']}"
    assert services["endpoints"] == {
        "job": {"url": "http://job", "address": "job:15000", "edge": edge, "server_name": "job"}
    }
    assert services["identities"] == {"job": "spiffe://acme.example/svc/job"}
    assert re.fullmatch(r"dir-[0-9a-f]{12}", services["revisions"]["job"])
    mesh = json.loads(applied.terraform("output", "-json", "mesh"))
    assert mesh["endpoints"]["edge"] == edge
    assert mesh["operator"]["uri"] == "spiffe://acme.example/ops/operator"
    assert Path(mesh["operator"]["key"]).stat().st_mode & 0o077 == 0

    labels = {row["Config"]["Labels"]["karst.role"]: row["Config"]["Labels"] for row in applied.kit.containers()}
    for role in ("pod", "app", "sidecar"):
        assert services["labels"]["job"].items() <= labels[role].items()
    assert mesh["labels"].items() <= labels["edge"].items()


def test_what_uses_an_endpoint_is_made_after_the_gate(applied: Applied) -> None:
    """The sidecar that it saw is the one whose gate let it through before."""
    state = json.loads((applied.root / "terraform.tfstate").read_text())
    instances = {(one.get("module", ""), one["type"], one["name"]): one["instances"][0] for one in state["resources"]}
    sidecar = instances["module.services", "docker_container", "sidecar"]["attributes"]["id"]
    assert (applied.root / "seen").read_text().strip() == sidecar[:12]
    assert "module.services.terraform_data.gate" in instances["", "terraform_data", "user"]["dependencies"]


def test_a_state_of_other_addresses_is_taken_over_without_a_change(applied: Applied) -> None:
    """Every resource renamed, with a `moved` block for each: an empty plan. Without them: everything destroyed."""
    modules = applied.root / "kit" / "modules"
    kept = {path: path.read_text() for path in modules.glob("*/*.tf")}
    pattern = re.compile(r'^resource "(\w+)" "(\w+)"', re.MULTILINE)
    found: dict[Path, set[tuple[str, str]]] = {path.parent: set() for path in kept}
    for path, text in kept.items():
        found[path.parent] |= set(pattern.findall(text))
    try:
        for path, text in kept.items():
            for kind, name in found[path.parent]:
                text = text.replace(f'resource "{kind}" "{name}"', f'resource "{kind}" "new_{name}"')
                text = re.sub(rf"(?<![\w.\"])(?<!data\.){kind}\.{name}\b", f"{kind}.new_{name}", text)
            path.write_text(text)
        said = applied.terraform("plan", "-no-color", "-detailed-exitcode", codes=(2,))
        assert re.search(r"Plan: (\d+) to add, 0 to change, \1 to destroy", said), said

        for folder, resources in found.items():
            blocks = [f"moved {{\n  from = {kind}.{name}\n  to   = {kind}.new_{name}\n}}\n" for kind, name in resources]
            (folder / "moved.tf").write_text("\n".join(blocks))
        said = applied.terraform("plan", "-no-color", "-detailed-exitcode", "-out=moved.tfplan", codes=(0, 2))
        changes = json.loads(applied.terraform("show", "-json", "moved.tfplan")).get("resource_changes", [])
        managed = [one for one in changes if one["mode"] == "managed"]
        assert {tuple(one["change"]["actions"]) for one in managed} == {("no-op",)}, said
        ours = [one for one in managed if one["address"].startswith("module.")]
        assert len(ours) > 9
        assert all(one["previous_address"] == one["address"].replace(".new_", ".") for one in ours)
    finally:
        for path, text in kept.items():
            path.write_text(text)
            (path.parent / "moved.tf").unlink(missing_ok=True)
