"""Starting, signalling and reaping the app: a child in a session of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
from collections.abc import Mapping, Sequence

from .listeners import descendants

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def become_reaper() -> None:
    """Inherit orphans even where somebody else is PID 1 (`docker run --init`, or a test)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(argv: Sequence[str], env: Mapping[str, str], stdout: int, stderr: int) -> int:
    """Start ``argv`` and return its pid; raises OSError when it cannot be executed.

    posix_spawn and not subprocess: it needs no fork of a process with threads, and gives the child back the signals
    that the runner blocks for itself.
    """
    if not argv:
        raise FileNotFoundError("there is no command to start")
    program = argv[0] if "/" in argv[0] else shutil.which(argv[0], path=env.get("PATH"))
    if program is None:
        raise FileNotFoundError(f"`{argv[0]}` is not on PATH")
    return os.posix_spawn(
        program,
        list(argv),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def cannot_start(argv: Sequence[str], error: OSError) -> str:
    """Say in one sentence why ``spawn`` failed."""
    if error.errno is None:
        return f"cannot start: {error}"
    program = argv[0]
    if isinstance(error, FileNotFoundError) and os.path.exists(program):
        return f"cannot start `{program}`: its interpreter (first line) or loader is not in the image"
    if error.errno == 8:  # ENOEXEC
        return f"cannot start `{program}`: it is no program for this system (or lacks its first line `#!`)"
    return f"cannot start `{program}`: {os.strerror(error.errno).lower()}"


def reap() -> tuple[list[tuple[int, int]], bool]:
    """Collect every ended child: (pid, wait status) pairs, and whether any child is left."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if pid == 0:
            return ended, True
        ended.append((pid, status))


def signal_group(pid: int, number: int) -> None:
    """Signal the app and all it started that is still in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(os.getpgid(pid), number)


def signal_one(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def sweep() -> None:
    """Kill what an ended app left behind: it would keep the port that the next try needs."""
    for pid in descendants(os.getpid()):
        signal_one(pid, signal.SIGKILL)
