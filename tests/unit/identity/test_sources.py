"""Where the values of secrets come from, and that none is ever told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from karst.errors import KarstError
from karst.identity.sources import find

VALUE = "hunter2-7f31"


def _command(tmp_path: Path, text: str) -> str:
    program = tmp_path / "program.py"
    program.write_text(text)
    return f"{sys.executable} {program}"


def test_the_environment_wins_then_the_folder_then_the_command(tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / name).write_text("of the folder\n")
    printed = json.dumps(dict.fromkeys("ABC", "of the command"))
    environ = {
        "A": "of the environment",
        "KARST_APP_SECRETS": str(tmp_path),
        "KARST_APP_SECRETS_COMMAND": _command(tmp_path, f"print({printed!r})"),
    }
    assert find("ABCD", environ) == {"A": "of the environment", "B": "of the folder\n", "C": "of the command"}


def test_the_command_is_not_run_when_nothing_is_missing() -> None:
    assert find(["A"], {"A": "1", "KARST_APP_SECRETS_COMMAND": "/nowhere/program"}) == {"A": "1"}


def test_no_shell_looks_at_the_command(tmp_path: Path) -> None:
    command = _command(tmp_path, "import json, sys; print(json.dumps({'A': sys.argv[1]}))")
    assert find(["A"], {"KARST_APP_SECRETS_COMMAND": f"{command} '$(id);x'"}) == {"A": "$(id);x"}


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import sys; print('hunter2-7f31', file=sys.stderr); sys.exit(3)", "exit code 3"),
        ("print('hunter2-7f31')", "did not print a JSON object"),
        ('print(\'{"A": ["hunter2-7f31"]}\')', "whose values are strings"),
    ],
)
def test_a_command_that_fails_is_named_without_what_it_said(tmp_path: Path, program: str, sentence: str) -> None:
    with pytest.raises(KarstError, match=sentence) as caught:
        find(["A"], {"KARST_APP_SECRETS_COMMAND": _command(tmp_path, program)})
    assert VALUE not in str(caught.value)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(KarstError, match="KARST_APP_SECRETS_COMMAND cannot be run"):
        find(["A"], {"KARST_APP_SECRETS_COMMAND": "/nowhere/program"})
