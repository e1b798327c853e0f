"""The other ways in: make with a list, and Terraform itself in envs/local, each in a copy of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment
from tests.integration.conftest import JOB
from tests.support.kit import ROOT, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy with a list of one job; its default stack's state is its own."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(
        ".git", ".karst", "secrets", ".terraform*", "*.tfstate*", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    (copy / "once").mkdir()
    (copy / "once" / "main.py").write_text(JOB)
    (copy / "once.yaml").write_text("- dir:once\n")
    return copy


def _run(folder: Path, env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_make_plan_apply_deploys_a_list_and_make_destroy_removes_it(checkout: Path, tmp_path: Path) -> None:
    """`make plan apply SLUGS=…` in one call applies exactly what it planned."""
    kit = Kit(tmp_path / "kit")
    try:
        said = _run(checkout, kit.env, "make", "plan", "apply", "SLUGS=once.yaml")
        assert "COMPLETED" in said
        assert "once" in _run(checkout, kit.env, "make", "health")
    finally:
        _run(checkout, kit.env, "make", "destroy")
    assert set(kit.leftovers().values()) == {""}


def test_terraform_apply_with_a_variables_file_is_a_door_of_its_own(checkout: Path, tmp_path: Path) -> None:
    """`terraform apply -var-file=…` in envs/local; the plan after it is empty."""
    kit = Kit(tmp_path / "kit")
    envs = checkout / "envs" / "local"
    variables = {
        "stack": kit.stack,
        "slugs": ["dir:../../once"],
        "network_name": f"iacnet-{kit.stack}",
        "ports": kit.ports,
        "secrets_dir": str(kit.secrets_dir),
    }
    (envs / "mine.tfvars.json").write_text(json.dumps(variables))
    terraform, env = terraform_command(), terraform_environment()
    _run(envs, env, terraform, "init", "-input=false", "-no-color")
    try:
        _run(envs, env, terraform, "apply", "-auto-approve", "-no-color", "-var-file=mine.tfvars.json")
        states = {row["Config"]["Labels"]["karst.role"]: row["State"]["Status"] for row in kit.containers()}
        assert states == dict.fromkeys(("pod", "app", "sidecar", "edge"), "running")
        _run(envs, env, terraform, "plan", "-detailed-exitcode", "-no-color", "-var-file=mine.tfvars.json")
    finally:
        _run(
            envs,
            env,
            terraform,
            "destroy",
            "-auto-approve",
            "-refresh=false",
            "-no-color",
            "-var-file=mine.tfvars.json",
        )
    left = kit.leftovers()
    assert (left["containers"], left["networks"], left["volumes"]) == ("", "", "")
    for image in set(left["images"].split()):
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)
