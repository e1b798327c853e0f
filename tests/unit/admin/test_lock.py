"""One run at a time per stack: who holds it is said, the dead hold nothing, and waiting ends with the holder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.cli.lock import end_orphans, exclusive, holder
from karst.errors import BusyError
from karst.stack import Stack, resolve

# A process that holds what it is told to hold until it is killed.
HOLD = """
import fcntl, sys, time
sys.path[:0] = sys.argv[3:]
from admin.cli.lock import exclusive
from karst.stack import resolve
stack = resolve(name=sys.argv[2])
if sys.argv[1] == "run":
    with exclusive(stack, "deploy"):
        print("held", flush=True)
        time.sleep(60)
handle = open(stack.state_file, "r+b")
fcntl.lockf(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    found = resolve(name="locks")
    found.home.mkdir()
    found.state_file.write_text("{}")
    return found


@pytest.fixture
def other(stack: Stack) -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.wait()


def _hold(what: str, stack: Stack, running: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, what, stack.name, *sys.path], stdout=subprocess.PIPE, text=True
    )
    running.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_what_where_and_since_when(stack: Stack, other: list[subprocess.Popen[str]]) -> None:
    """And ends with the exit code for busy."""
    process = _hold("run", stack, other)
    with pytest.raises(BusyError) as caught, exclusive(stack, "plan"):
        pass
    found = holder(stack) or {}
    assert caught.value.exit_code == 3
    assert found["pid"] == process.pid
    for word in ("`iac deploy`", f"{found['user']}@{found['host']}", f"process {process.pid}", found["since"]):
        assert word in caught.value.message


def test_a_killed_run_holds_nothing_and_its_note_is_no_holder(stack: Stack, other: list[subprocess.Popen[str]]) -> None:
    """The kernel freed the lock; the note of the dead is still there."""
    process = _hold("run", stack, other)
    process.kill()
    process.wait()
    assert stack.lock_path.with_suffix(".json").exists()
    assert holder(stack) is None
    with exclusive(stack, "plan"):
        assert (holder(stack) or {})["verb"] == "plan"
    assert holder(stack) is None


def test_a_terraform_that_outlived_its_iac_still_holds_the_stack(
    stack: Stack, other: list[subprocess.Popen[str]]
) -> None:
    """As after kill -9 of `iac`: Terraform's own lock on the state, its lock.info, and the note of the dead run."""
    _hold("state", stack, other)
    info = {"Operation": "OperationTypeApply", "Who": "ada@host", "Created": "2026-01-02T03:04:05.678Z"}
    stack.state_file.with_name(f".{stack.state_file.name}.lock.info").write_text(json.dumps(info))
    stack.lock_path.with_suffix(".json").write_text(json.dumps({"verb": "deploy", "pid": 1}))
    with pytest.raises(BusyError) as caught, exclusive(stack, "plan"):
        pass
    assert "Terraform (apply) by ada@host since 2026-01-02T03:04:05" in caught.value.message
    assert "the `iac deploy` that started it is gone" in caught.value.message


def test_waiting_says_so_once_and_goes_on_when_the_holder_ends(
    stack: Stack, other: list[subprocess.Popen[str]]
) -> None:
    process = _hold("run", stack, other)
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        process.kill()

    with exclusive(stack, "plan", wait=20, tell=tell):
        pass
    assert len(said) == 1
    assert "waiting up to 20 s" in said[0]


def test_waiting_ends_with_its_time(stack: Stack, other: list[subprocess.Popen[str]]) -> None:
    _hold("run", stack, other)
    began = time.monotonic()
    with pytest.raises(BusyError), exclusive(stack, "plan", wait=0.3):
        pass
    assert time.monotonic() - began >= 0.3


def test_only_providers_of_the_killed_terraforms_group_are_ended(stack: Stack, tmp_path: Path) -> None:
    """A provider outlives a killed Terraform for ever; its group may hold others by now, and they are left alone."""
    provider = tmp_path / "terraform-provider-docker_v4"
    provider.symlink_to("/bin/sleep")
    in_group = subprocess.Popen([str(provider), "60"], start_new_session=True)
    elsewhere = subprocess.Popen([str(provider), "60"], start_new_session=True)
    try:
        assert end_orphans(stack) == 0
        stack.terraform_pid_file.write_text(str(in_group.pid))
        assert end_orphans(stack) == 1
        assert in_group.wait(timeout=5) == -signal.SIGKILL
        assert elsewhere.poll() is None
        assert not stack.terraform_pid_file.exists()
    finally:
        for process in (in_group, elsewhere):
            process.kill()
            process.wait()


def test_a_stranger_in_the_group_survives(stack: Stack) -> None:
    """The number may be another process's by now."""
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        stack.terraform_pid_file.write_text(str(stranger.pid))
        assert end_orphans(stack) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
