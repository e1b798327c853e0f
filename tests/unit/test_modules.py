"""The modules' own tests (both providers mocked) by Terraform and OpenTofu, and that each root is valid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from karst.files import cache_dir
from karst.toolchain.record import terraform_command, terraform_environment
from karst.toolchain.terraform import TOFU_VERSION

ROOT = Path(__file__).resolve().parents[2]
TESTED = ("modules/karst_mesh", "modules/karst_service", "envs/local")
TERRAFORM_ALONE = (
    "across_runs.tftest.hcl",
    "placement.tftest.hcl",
)  # OpenTofu knows the outputs of applies, not of plans

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, because init writes into the folder it works in."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    for name in ("modules", "envs"):
        ignored = shutil.ignore_patterns(".terraform*", "terraform.d", "*.tfstate*", "*.auto.tfvars*")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def _run(command: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [command, f"-chdir={folder}", *arguments],
        env={**terraform_environment(), "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(folder / ".data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _own_tests(command: str, folder: Path, *arguments: str) -> None:
    _run(command, folder, "init", "-backend=false", "-no-color", "-input=false")
    said = _run(command, folder, "test", "-no-color", *arguments)
    assert "0 failed" in said, said
    assert "0 passed" not in said, said


@pytest.mark.slow
def test_the_main_path_of_the_services_is_planned(checkout: Path) -> None:
    """`terraform test` of the pods alone: no engine needed. All the files are run by `make test-slow`."""
    _own_tests(terraform_command(), checkout / "modules" / "karst_service", "-filter=tests/pods.tftest.hcl")


@pytest.mark.slow
@pytest.mark.parametrize("folder", TESTED)
def test_every_variable_and_every_refusal_is_planned(folder: str, checkout: Path) -> None:
    """All files of `terraform test`."""
    _own_tests(terraform_command(), checkout / folder)


@pytest.mark.slow
@pytest.mark.parametrize("folder", TESTED)
def test_opentofu_plans_the_same(folder: str, checkout: Path) -> None:
    """The same files, by OpenTofu, but for those that compare plans."""
    tofu = shutil.which("tofu") or shutil.which(str(cache_dir() / "tools" / f"tofu-{TOFU_VERSION}"))
    if tofu is None:
        pytest.skip("OpenTofu is not there: `scripts/toolchain/tool tofu` builds it from its Go module, in minutes")
    files = [path.name for path in sorted((checkout / folder / "tests").iterdir()) if path.name not in TERRAFORM_ALONE]
    _own_tests(tofu, checkout / folder, *(f"-filter=tests/{name}" for name in files))


@pytest.mark.slow
@pytest.mark.parametrize("root", sorted(path.name for path in (ROOT / "envs").iterdir() if path.is_dir()))
def test_each_root_is_valid(root: str, checkout: Path) -> None:
    """`terraform validate` with the real providers' schemas."""
    folder = checkout / "envs" / root
    _run(terraform_command(), folder, "init", "-no-color", "-input=false", "-backend=false")
    _run(terraform_command(), folder, "validate", "-no-color")
