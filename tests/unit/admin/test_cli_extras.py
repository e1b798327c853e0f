"""`iac audit verify`, `cancel`, `doctor` and `completion`: the commands beside the stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from admin.audit import Audit
from admin.cli.main import run

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/scripts"]
from admin.cli.lock import exclusive
from karst.stack import resolve
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
with exclusive(resolve(name="t-cancel"), "deploy"):
    print("held", flush=True)
    signal.pause()
"""


def test_audit_verify_says_whether_the_chain_is_whole_and_where_it_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By file or folder; exit 1 for a changed line, 2 for no log at all."""
    log = tmp_path / "audit.ndjson"
    for number in range(3):
        Audit(log).write("run.start", f"user:{number}", "accepted")
    assert run(["audit", "verify", str(tmp_path)]) == 0
    assert "3 records, the chain is whole" in capsys.readouterr().out
    log.write_text(log.read_text().replace("user:1", "user:9"))
    assert run(["audit", "verify", "--json", str(log)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "path": str(log),
        "ok": False,
        "records": 1,
        "line": 2,
        "reason": "this record was changed",
    }
    assert run(["audit", "verify", str(log)]) == 1
    assert f"{log}:2: this record was changed" in capsys.readouterr().err
    log.unlink()
    assert run(["audit", "verify", str(log)]) == 1  # the head file remembers three
    assert run(["audit", "verify", str(tmp_path / "other")]) == 2


def test_cancel_asks_the_run_that_holds_the_stack_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    assert run(["--stack", "t-cancel", "cancel"]) == 1
    assert "nothing runs on stack `t-cancel`" in capsys.readouterr().err
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(ROOT)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run(["--stack", "t-cancel", "cancel", "--json"]) == 0
        asked = json.loads(capsys.readouterr().out)["asked"]
        assert (asked["verb"], asked["pid"], holder.wait(timeout=10)) == ("deploy", holder.pid, 130)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell_asks_the_command_itself(shell: str) -> None:
    """The script of click's, and what it asks gets an answer."""
    iac = str(ROOT / "admin" / "iac")
    script = subprocess.run([iac, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert f"_IAC_COMPLETE={shell}_complete" in script
    asked = {"bash": {"COMP_WORDS": "iac de", "COMP_CWORD": "1"}, "zsh": {"COMP_WORDS": "iac de", "COMP_CWORD": "1"}}
    env = {
        **os.environ,
        "_IAC_COMPLETE": f"{shell}_complete",
        **asked.get(shell, {"COMP_WORDS": "iac de", "COMP_CWORD": "de"}),
    }
    found = subprocess.run([iac], env=env, capture_output=True, text=True, check=False).stdout
    assert "deploy" in found
    assert "health" not in found


@pytest.mark.slow
def test_completion_knows_the_services_that_were_deployed(tmp_path: Path) -> None:
    history = tmp_path / "karst" / "history"
    history.mkdir(parents=True)
    for name in ("web", "worker", "shop"):
        (history / f"{name}.jsonl").write_text("")
    env = {**os.environ, "KARST_STATE_DIR": str(tmp_path), "KARST_STACK": "karst", "_IAC_COMPLETE": "bash_complete"}
    for words, at in (("iac history w", "2"), ("iac logs --service w", "3"), ("iac stats shop w", "3")):
        command = [str(ROOT / "admin" / "iac")]
        asked = env | {"COMP_WORDS": words, "COMP_CWORD": at}
        found = subprocess.run(command, env=asked, capture_output=True, text=True, check=False).stdout
        assert [line.partition(",")[2] for line in found.split()] == ["web", "worker"], words


@pytest.mark.slow
def test_completion_towards_an_admin_app_offers_what_works_there() -> None:
    env = {
        **os.environ,
        "_IAC_COMPLETE": "bash_complete",
        "COMP_WORDS": "iac --url http://127.0.0.1:1 de",
        "COMP_CWORD": "3",
    }
    found = subprocess.run([ROOT / "admin" / "iac"], env=env, capture_output=True, text=True, check=False).stdout
    assert "deploy" in found
    assert "destroy" not in found


@pytest.mark.slow
def test_doctor_says_what_there_is_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--json"])
    found = {row["part"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert found["python"] == "ok"
    assert code == int("MISSING" in found.values())


@pytest.mark.parametrize("words", [["deplyo"], ["deploy", "--fiel", "x"], ["audit", "verfy"]])
def test_a_typing_error_is_answered_with_the_nearest_word(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert "did you mean" in capsys.readouterr().err.lower()


def test_every_command_that_shows_or_changes_something_speaks_json() -> None:
    """But for those whose answer is a script, a prompt or a line for people."""
    import click

    from admin.cli.main import cli
    from admin.cli.remote.commands import COMMANDS

    silent = {
        "backup",
        "completion",
        "login",
        "logout",
        "update",
        "audit",
        "detect",
        "restore",
        "runs",
        "renew",
        "rotate",
    }
    for name, command in {**cli.commands, **{f"remote {name}": each for name, each in COMMANDS.items()}}.items():
        if name not in silent and not isinstance(command, click.Group):
            assert any("--json" in option.opts for option in command.params), name
