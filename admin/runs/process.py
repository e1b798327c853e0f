"""The process of a run: started in a session of its own, found again by its lock, interrupted once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from karst import files
from karst.generations import CALLER

# Settings of the admin app itself. The command and what it deploys have no business with them.
_OWN = ("SUPABASE_SERVICE_ROLE_KEY", "KARST_AUTH_", "KARST_ADMIN_")


def environment(caller: str) -> dict[str, str]:
    """The environment of a run: ours without the admin app's own settings and secrets, and who wants it.

    KARST_URL and KARST_SOCKET are empty, so that not even `.env` can send the run to an admin app: to this one, say.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return {**kept, "KARST_URL": "", "KARST_SOCKET": "", CALLER: caller}


def start(
    argv: Sequence[str], *, cwd: Path, events: Path, stderr: Path, lock: Path, caller: str
) -> subprocess.Popen[bytes]:
    """Start ``argv``: stdout appends to ``events``, and the process holds ``lock`` for as long as it lives.

    ``caller``: name or subject of whoever wants it, for the services' histories.

    A file, not a pipe: a pipe would break, and the command with it, when the admin app ends. The lock is inherited as
    an open file; the kernel frees it with the process, also after a crash or a reboot, so no process id needs
    believing. Raises OSError when the command cannot be started.
    """
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(_open(events, os.O_APPEND))
        err = stack.enter_context(_open(stderr, os.O_APPEND))
        held = stack.enter_context(_open(lock, 0))
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environment(caller),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=(held,),
            start_new_session=True,
        )


@contextlib.contextmanager
def _open(path: Path, flags: int):  # type: ignore[no-untyped-def]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def alive(lock: Path) -> bool:
    """Whether a process of the run still lives."""
    return files.held(lock)


def interrupt(pid: int, lock: Path) -> bool:
    """Send SIGINT to the run's process group, Terraform included; False when the run has ended.

    Once, never twice: on a second one Terraform gives up at once, and leaves its state and its lock as they are.
    """
    if pid <= 1 or not alive(lock):
        return False
    try:
        os.killpg(pid, signal.SIGINT)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def take_interrupts() -> None:
    """Undo an inherited "ignore SIGINT" (a shell's `&` sets it): a run would inherit it and could not be cancelled."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
