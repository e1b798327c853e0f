"""The Makefile: nothing it is given is run, typing errors are refused, and the order of targets holds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHOW = '#!/bin/sh\nprintf "%s|" "$@" >>"$(dirname "$0")/../calls"; echo >>"$(dirname "$0")/../calls"\n'


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """The Makefile beside programs that only note how they were called."""
    shutil.copy2(ROOT / "Makefile", tmp_path / "Makefile")
    for name in ("admin/iac", "scripts/toolchain/dev"):
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        program.write_text(SHOW)
        program.chmod(0o755)
    return tmp_path


def make(kit: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if name not in ("SLUGS", "STACK", "MAKEFLAGS")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=kit,
        env=base | env,
        capture_output=True,
        text=True,
        check=False,
    )


def calls(kit: Path) -> list[list[str]]:
    text = (kit / "calls").read_text() if (kit / "calls").exists() else ""
    return [line.split("|")[:-1] for line in text.splitlines()]


ATTACKS = (
    "gh:a/b#$(shell touch pwned)",
    "$(shell touch pwned)",
    "`touch pwned`",
    "$(touch pwned)",
    '"; touch pwned; "',
    "'; touch pwned; '",
    "${shell touch pwned}",
    "x\ntouch pwned",
    "$$(touch pwned)",
)


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("origin", ["argument", "environment"])
@pytest.mark.parametrize("name", ["SLUGS", "STACK"])
@pytest.mark.parametrize("target", ["plan", "apply"])
def test_nothing_in_slugs_or_stack_is_run(kit: Path, target: str, name: str, origin: str, text: str) -> None:
    """The text arrives as it stands, as one argument, and neither make nor a shell looks inside it."""
    done = make(kit, target, f"{name}={text}") if origin == "argument" else make(kit, target, **{name: text})
    assert not (kit / "pwned").exists()
    if "\n" not in text and "$$" not in text:
        assert done.returncode == 0, done.stderr
        assert text in calls(kit)[0]


@pytest.mark.parametrize("text", ATTACKS)
def test_an_unknown_variable_is_refused_before_it_is_expanded(kit: Path, text: str) -> None:
    done = make(kit, "plan", f"SLUG={text}")
    assert done.returncode == 2
    assert "unknown variable SLUG: this Makefile takes SLUGS STACK TESTS PART SIZES" in done.stderr
    assert not (kit / "pwned").exists()
    assert calls(kit) == []


def test_plan_and_apply_in_one_call_run_in_this_order(kit: Path) -> None:
    done = make(kit, "-j4", "plan", "apply", "SLUGS=repos.yaml")
    assert done.returncode == 0, done.stderr
    assert calls(kit) == [["plan", "--file", "repos.yaml"], ["apply", "--file", "repos.yaml"]]


def test_without_slugs_the_plan_is_of_repos_yaml(kit: Path) -> None:
    make(kit, "plan")
    assert calls(kit) == [["plan", "--file", "repos.yaml"]]


def test_apply_alone_applies_what_was_saved(kit: Path) -> None:
    make(kit, "apply")
    assert calls(kit) == [["apply"]]


def test_the_stack_is_handed_on(kit: Path) -> None:
    make(kit, "destroy", "STACK=blue")
    assert calls(kit) == [["--stack", "blue", "destroy"]]


def test_the_exit_code_of_the_command_is_shown(kit: Path) -> None:
    (kit / "admin" / "iac").write_text("#!/bin/sh\nexit 5\n")
    done = make(kit, "health")
    assert done.returncode == 2
    assert "Error 5" in done.stderr


def test_help_lists_every_target(kit: Path) -> None:
    listed = make(kit).stdout
    targets = re.findall(r"^([a-z-]+):(?!=)", (kit / "Makefile").read_text(), re.MULTILINE)
    assert {"bootstrap", "up", "plan", "apply", "destroy", "test", "doctor", "clean"} <= set(targets)
    assert all(f"make {target} " in listed for target in targets)
