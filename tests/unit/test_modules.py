"""The modules' own tests (`terraform test`, both providers mocked), and that each root is valid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, because init writes into the folder it works in."""
    for name in ("modules", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return tmp_path


def _terraform(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [terraform_command(), f"-chdir={folder}", *arguments],
        env={**terraform_environment(), "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(folder / ".data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["karst_mesh", "karst_service"])
def test_the_modules_own_tests_pass(module: str, checkout: Path) -> None:
    """`terraform test` plans every variable and every refusal with mocked providers: no engine needed."""
    folder = checkout / "modules" / module
    _terraform(folder, "init", "-no-color", "-input=false")
    _terraform(folder, "test", "-no-color")


@pytest.mark.parametrize("root", sorted(path.name for path in (ROOT / "envs").iterdir() if path.is_dir()))
def test_each_root_is_valid(root: str, checkout: Path) -> None:
    """`terraform validate` with the real providers' schemas."""
    folder = checkout / "envs" / root
    _terraform(folder, "init", "-no-color", "-input=false", "-backend=false")
    _terraform(folder, "validate", "-no-color")
