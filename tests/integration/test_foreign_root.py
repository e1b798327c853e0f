"""Somebody else's Terraform repository pulls the modules by git, with an empty cache and no bootstrap before.

The roots are the examples' own folders, copied when the test runs; what a machine has of its own goes in by variables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from karst.toolchain import base_image
from karst.toolchain.record import load, terraform_command, terraform_environment
from tests.support.envoy import base
from tests.support.githost import GitHost
from tests.support.kit import ROOT, Kit, docker
from tests.support.published import publish
from tests.support.registry import registry

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(500)]


@dataclass
class Root:
    """An example as the root of a stack of its own.

    Attributes:
        folder: the copy.
        kit: names and finds the stack; its `iac` is never called.
        env: of Terraform, without anything of the kit's.
        images: to be removed at the end, besides the stack's own.
    """

    folder: Path
    kit: Kit
    env: dict[str, str]
    prefix: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def terraform(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [*self.prefix, terraform_command(), f"-chdir={self.folder}", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout

    def settings(self, **values: Any) -> None:
        """Variables of this machine."""
        (self.folder / "machine.auto.tfvars.json").write_text(json.dumps({"stack": self.kit.stack, **values}))


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    """The example that the test names, with the kit published where it looks; destroyed at the end."""
    example = ROOT / "examples" / request.param
    folder = Path(shutil.copytree(example, tmp_path / "theirs"))
    environment = {k: v for k, v in terraform_environment().items() if not k.startswith("KARST_")}
    environment |= {"KARST_CACHE": str(tmp_path / "cache"), "CHECKPOINT_DISABLE": "1", **publish(tmp_path, example)}
    root = Root(folder, Kit(tmp_path / "unused"), environment)
    yield root
    root.prefix = []
    root.terraform("destroy", "-no-color", "-auto-approve", "-refresh=false", codes=(0, 1))
    for image in {*root.kit.leftovers()["images"].split(), *root.images}:
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)
    assert root.kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}


@pytest.mark.parametrize("root", ["module-from-git"], indirect=True)
def test_a_foreign_root_gets_running_services_from_the_module_alone(root: Root) -> None:
    """Its own network and state, no edge: the gate asks the pods; the second plan is empty; destroy leaves nothing."""
    root.settings(base_image=base(), build_ca_file=base_image.build_ca_file() or "")
    (root.folder / "Dockerfile").write_text("FROM of-the-root-and-of-no-service\n")  # what stands beside it is no app's
    root.terraform("init", "-no-color", "-input=false")
    root.terraform("apply", "-no-color", "-auto-approve")
    services = json.loads(root.terraform("output", "-json", "services"))
    assert {name: one["address"] for name, one in services.items()} == {"api": "api:15000", "report": "report:15000"}
    assert {row["State"]["Status"] for row in root.kit.containers()} == {"running"}
    root.terraform("plan", "-no-color", "-detailed-exitcode")
    assert (root.folder / "state" / "services.tfstate").exists()
    assert (root.folder / "secrets" / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("root", ["air-gapped"], indirect=True)
def test_a_root_without_hub_and_registry_takes_providers_from_a_folder_and_the_base_from_its_own(
    root: Root, tmp_path: Path
) -> None:
    """`init` runs in a network namespace without any network; the base image is in the test's registry alone."""
    mirror = load().get("provider_config") and Path(str(load()["provider_config"]))
    if not mirror or os.geteuid() != 0:
        pytest.skip("A FOLDER OF PROVIDERS IS WHAT BOOTSTRAP MADE, AND A NAMESPACE NEEDS ROOT")
    (root.folder / "providers").symlink_to(mirror.parent / "mirror", target_is_directory=True)
    root.env["TF_CLI_CONFIG_FILE"] = str(root.folder / "mirror.tfrc")
    root.prefix = ["unshare", "--net"]
    root.terraform("init", "-no-color", "-input=false")
    root.prefix = []
    with registry(tmp_path / "registry") as address, GitHost(tmp_path / "githost") as host:
        image = f"{address}/python:3.11-slim"
        host.create("gh:acme/hello", ROOT / "examples" / "hello", tags=["v1.0.0"])
        root.env |= host.environment()
        root.settings(base_image=image, build_ca_file=base_image.build_ca_file() or "", ports=root.kit.ports)
        docker("tag", base(), image)
        docker("push", image, timeout=200)
        docker("rmi", image)
        root.terraform("apply", "-no-color", "-auto-approve")
        # Of a base image that nobody else has, the kit's own images are of no use to anybody else either.
        state = json.loads(root.terraform("show", "-json"))["values"]["root_module"]["child_modules"]
        made = [r["values"]["name"] for module in state for r in module["resources"] if r["type"] == "docker_image"]
        root.images = [*(name for name in made if name.startswith("karstkit/")), image]
        services = json.loads(root.terraform("output", "-json", "services"))
        assert services["hello"]["address"] == "hello:15000"
        assert {row["State"]["Status"] for row in root.kit.containers()} == {"running"}
        root.terraform("plan", "-no-color", "-detailed-exitcode")
