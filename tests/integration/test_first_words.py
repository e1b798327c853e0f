"""What is read where something is missing for the module on a machine: one sentence each, by the real providers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment
from tests.support.kit import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(60)]

MAIN = """
provider "docker" {}

terraform {
  required_providers {
    docker = {
      source = "kreuzwerker/docker"
    }
  }
}

module "services" {
  source      = "SOURCE"
  slugs       = [ENTRY]
  network     = "NETWORK"
  secrets_dir = "${path.root}/keys"
  base_image  = "python:3.11-slim"
}
"""

Refuse = Callable[..., str]
SOURCE, DIR = f"{ROOT}//modules/karst_service", '"dir:job"'


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Plan a root that uses the module; return what Terraform says was wrong, on one line."""
    root = tmp_path / "theirs"
    (root / "job").mkdir(parents=True)
    (root / "job" / "main.py").write_text("print(1)\n")

    def plan(*, source: str = SOURCE, network: str = "bridge", entry: str = DIR, **env: str) -> str:
        (root / "main.tf").write_text(
            MAIN.replace("SOURCE", source).replace("NETWORK", network).replace("ENTRY", entry)
        )
        command = [terraform_command(), f"-chdir={root}"]
        clean = {key: value for key, value in terraform_environment().items() if not key.startswith("KARST_")}
        clean["CHECKPOINT_DISABLE"] = "1"
        said = subprocess.run(
            [*command, "init", "-no-color", "-input=false"], env=clean, capture_output=True, text=True
        )
        assert said.returncode == 0, said.stdout + said.stderr
        said = subprocess.run([*command, "plan", "-no-color"], env=clean | env, capture_output=True, text=True)
        assert said.returncode == 1, said.stdout
        assert said.stderr.count("Error: ") <= 2, said.stderr  # the providers repeat the word in their own text
        assert "Traceback" not in said.stderr
        return re.sub(r"\s+", " ", said.stderr)

    return plan


def test_without_python_it_says_which_one_and_where_from(refuse: Refuse, tmp_path: Path) -> None:
    """A machine with an empty cache and the usual tools, but no interpreter."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env", "dirname", "readlink", "sha256sum", "cat", "mkdir"):
        (tools / name).symlink_to(shutil.which(name) or "")
    said = refuse(PATH=str(tools), KARST_CACHE=str(tmp_path / "cache"))
    assert (
        "no Python 3.11 or newer was found; install one (Debian, Ubuntu: apt-get install python3 python3-venv)" in said
    )


def test_without_an_engine_it_says_where_it_looked(refuse: Refuse) -> None:
    """The docker provider's own words."""
    said = refuse(DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "Cannot connect to the Docker daemon at unix:///nowhere/docker.sock. Is the docker daemon running?" in said


def test_a_network_that_is_not_there_is_named(refuse: Refuse) -> None:
    """The docker provider's own words."""
    assert "Could not find docker network: Error response from daemon: network no-such-net not found" in refuse(
        network="no-such-net"
    )


def test_a_module_without_its_repository_says_how_to_pull_it(refuse: Refuse, tmp_path: Path) -> None:
    """Somebody copied the folder, or forgot one of the two slashes before it."""
    shutil.copytree(ROOT / "modules" / "karst_service", tmp_path / "theirs" / "copied" / "karst_service")
    said = refuse(source="./copied/karst_service")
    assert "The kit's programs are not in" in said
    assert "`git::https://example.org/karstkit.git//modules/karst_service`" in said


def test_an_entry_with_a_misspelt_key_is_told_by_the_program_that_reads_it(refuse: Refuse) -> None:
    """The slugs have no type on purpose: a typed object would drop the key without a word."""
    said = refuse(entry='{ slug = "dir:job", prot = 8000 }')
    assert "prot" in said
    assert "did you mean `port`" in said
