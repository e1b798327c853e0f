""".ci/run: the commands of a person, in order, and the first failure as the exit code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("failing", "targets", "code"),
    [
        ("none", ["bootstrap", "lint", "test"], 0),
        ("bootstrap", ["bootstrap"], 2),
        ("lint", ["bootstrap", "lint", "test"], 2),
        ("test", ["bootstrap", "lint", "test"], 2),
    ],
)
def test_ci_runs_what_people_run(tmp_path: Path, failing: str, targets: list[str], code: int) -> None:
    """Linters that find something do not keep the tests from being run, but the run is red."""
    fake = tmp_path / "make"
    fake.write_text(f'#!/bin/sh\necho "$1" >>{tmp_path}/targets\n[ "$1" != {failing} ] || exit 2\n')
    fake.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([ROOT / ".ci" / "run"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert (tmp_path / "targets").read_text().split() == targets
    assert f"== make {targets[-1]}: exit code" in done.stdout
