"""One run at a time per stack: whoever comes second learns who is at work, or waits.

Two locks count, and the kernel frees both with the process that holds them, so that no note left by a dead run ever
blocks. The run's own lock keeps a second `iac` out. Terraform's lock on its state is looked at as well: a Terraform
that outlived its killed `iac`, or that somebody started by hand, still changes the stack.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from karst import files
from karst.errors import BusyError
from karst.files import locked, write_atomic
from karst.stack import Stack

_POLL = 0.1
_GLIMPSES = 10
Tell = Callable[[str], None]
T = TypeVar("T")


@contextlib.contextmanager
def exclusive(stack: Stack, verb: str, *, wait: float = 0, tell: Tell = lambda _line: None) -> Iterator[None]:
    """Hold the stack; BusyError names the holder when it is not free within ``wait`` seconds.

    ``tell`` is given one line when the wait begins.
    """
    deadline, glimpses = time.monotonic() + wait, 0
    with contextlib.ExitStack() as held:
        while not _taken(held, stack):
            found = holder(stack)
            if found is None and glimpses < _GLIMPSES:  # somebody only looked, as `iac status` does
                glimpses += 1
            elif time.monotonic() >= deadline:
                raise _busy(stack, found)
            else:
                tell(f"waiting up to {wait:g} s: {_busy(stack, found).message}")
                tell = _silent
            time.sleep(_POLL)
        held.enter_context(_noted(stack, verb))
        yield


def undisturbed(stack: Stack, read: Callable[[], T], *, wait: float = 0, tell: Tell = lambda _line: None) -> T:
    """What ``read`` says of the stack at a time when no run changes it, without keeping any run from beginning.

    Reads again when a run began meanwhile; BusyError names the one that does not end within ``wait`` seconds.
    """
    deadline = time.monotonic() + wait
    while True:
        before, found = _trace(stack), holder(stack)
        if found is None:
            answer = read()
            found = holder(stack)
            if found is None and _trace(stack) == before:
                return answer
        if found is not None and time.monotonic() >= deadline:
            raise _busy(stack, found)
        if found is not None:
            tell(f"waiting up to {wait:g} s: {_busy(stack, found).message}")
            tell = _silent
        time.sleep(_POLL)


def _trace(stack: Stack) -> list[tuple[int, int] | None]:
    """What a run leaves other than it was: the state, and the note of its end."""
    paths = (stack.state_file, stack.home / "last-run.json")
    return [(path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None for path in paths]


def _taken(held: contextlib.ExitStack, stack: Stack) -> bool:
    try:
        held.enter_context(locked(stack.lock_path, wait=0))
    except BusyError:
        return False
    if state_locked(stack):
        held.close()
        return False
    return True


def holder(stack: Stack) -> dict[str, Any] | None:
    """Who holds the stack: verb, pid, user, host, since, ``orphan`` (a Terraform without `iac`); None when free."""
    if not files.held(stack.lock_path):
        return _terraforms(stack) if state_locked(stack) else None
    return {**_notes(stack), "orphan": False}


def state_locked(stack: Stack) -> bool:
    """Whether a living Terraform holds the state; one that is kept elsewhere, Terraform itself asks for its lock."""
    try:
        with stack.state_file.open("r+b") as handle:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, PermissionError):
        return False
    except BlockingIOError:
        return True
    return False


def end_orphans(stack: Stack) -> int:
    """End the providers that a killed Terraform left; return how many. The caller holds the stack.

    They wait for ever for a Terraform that is gone, or finish the creation of a container that nobody will record.
    """
    try:
        group = int(stack.terraform_pid_file.read_text())
    except (OSError, ValueError):
        return 0
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,pgid=,args="], capture_output=True, text=True, check=False
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    left = [int(pid) for pid, pgid, args in (r for r in rows if len(r) == 3) if int(pgid) == group and _ours(args)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    stack.terraform_pid_file.unlink(missing_ok=True)
    return len(left)


def _ours(args: str) -> bool:
    return Path(args.split()[0]).name.startswith("terraform-provider-")


@contextlib.contextmanager
def _noted(stack: Stack, verb: str) -> Iterator[None]:
    notes = {
        "verb": verb,
        "pid": os.getpid(),
        "user": _user(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomic(_notes_path(stack), json.dumps(notes))
    try:
        yield
    finally:
        _notes_path(stack).unlink(missing_ok=True)


def _busy(stack: Stack, found: dict[str, Any] | None) -> BusyError:
    if found is None:
        return BusyError(f"stack `{stack.name}` was busy until just now", hint="run it again", code="busy")
    if found["orphan"]:
        message = (
            f"stack `{stack.name}` is busy: Terraform ({found['verb']}) by {found['user']} since {found['since']}"
            + (f", although the `iac {found['started_by']}` that started it is gone" if found["started_by"] else "")
        )
        return BusyError(message, hint="it goes on by itself: wait for it, or use --lock-wait SECONDS", code="busy")
    who = "somebody who left no note"
    if found.get("verb"):
        who = (
            f"`iac {found['verb']}` by {found.get('user', '?')}@{found.get('host', '?')} "
            f"(process {found.get('pid', '?')}) since {found.get('since', '?')}"
        )
    hint = "wait for it (--lock-wait SECONDS), or stop it with Ctrl-C where it runs"
    return BusyError(f"stack `{stack.name}` is busy: {who}", hint=hint, code="busy")


def _terraforms(stack: Stack) -> dict[str, Any]:
    """What Terraform wrote beside its state about the lock, and what the `iac` before it left as a note."""
    info = _json(stack.state_file.with_name(f".{stack.state_file.name}.lock.info"))
    notes = _notes(stack)
    return {
        "verb": str(info.get("Operation") or "unknown").removeprefix("OperationType").lower(),
        "user": str(info.get("Who") or "somebody"),
        "since": str(info.get("Created") or "an unknown time")[:19],
        "started_by": str(notes.get("verb") or ""),
        "orphan": True,
    }


def _notes_path(stack: Stack) -> Path:
    return stack.lock_path.with_suffix(".json")


def _notes(stack: Stack) -> dict[str, Any]:
    return _json(_notes_path(stack))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _silent(_line: str) -> None:
    return None
