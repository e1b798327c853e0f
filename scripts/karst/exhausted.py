"""What a host or a network has no more of: from the engine's and the kernel's words, or from what /proc counts, to one
sentence and the way past it. docs/scale.md shows each of them, run into on purpose.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Shortage(NamedTuple):
    """One sentence on what is used up, and what to do."""

    message: str
    hint: str


_SPLIT = "split the list over two stacks (docs/stacks.md): each has a network of its own"

_WORDS = (
    (
        r"exchange full",
        Shortage("the stack's network is full: a Linux bridge takes 1,023 ports, one for each pod", _SPLIT),
    ),
    (
        r"no available IPv4 addresses on this network's address pools",
        Shortage(
            "the stack's network has no address left, and each pod needs one",
            f"{_SPLIT}; or give the engine larger `default-address-pools`, then `iac destroy` and `iac deploy`",
        ),
    ),
    (
        r"non-overlapping IPv4 address pool|all predefined address pools have been fully subnetted",
        Shortage(
            "the engine has no range of addresses left for another network, and each stack needs one",
            "remove unused networks (`docker network prune`), or give the engine more `default-address-pools`",
        ),
    ),
    (
        r"resource temporarily unavailable|can't start new thread|pthread_create failed|final child's PID from pipe",
        Shortage(
            "no more processes can be started: the host's process numbers, or those of the apps' user, are used up",
            "the host's: `sudo sysctl kernel.pid_max=4194304`; of the apps' user (`nproc`) docs/scale.md has more",
        ),
    ),
)


def told(words: str) -> Shortage | None:
    """What has run out, when these words of the engine's or of a program's say so."""
    return next((found for pattern, found in _WORDS if re.search(pattern, words, re.IGNORECASE)), None)


class Counts(NamedTuple):
    """How often since the host's start the kernel's neighbour table took no further entry, and a process was ended for
    want of memory; 0 where that is not told.
    """

    overflows: int
    killed: int


def counts() -> Counts:
    """As the kernel counts now, of all network namespaces (a line for each processor) and of all containers."""
    overflows = killed = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        head, *rows = (line.split() for line in (PROC / "net/stat/arp_cache").read_text().splitlines())
        overflows = sum(int(row[head.index("table_fulls")], 16) for row in rows)
    with contextlib.suppress(OSError, ValueError):
        lines = (line.split() for line in (PROC / "vmstat").read_text().splitlines())
        killed = next((int(value) for name, value in lines if name == "oom_kill"), 0)
    return Counts(overflows, killed)


def since(before: Counts) -> Shortage | None:
    """What this host has run out of since then; None when it was nothing that the kernel counts."""
    now = counts()
    if now.killed > before.killed:
        return Shortage(
            f"there is too little memory: the kernel has ended {now.killed - before.killed} processes meanwhile for it",
            "a larger host or a second one, fewer services, or limits (`memory:`) for those that take most",
        )
    if now.overflows > before.overflows:
        return Shortage(
            "the kernel's neighbour table, which all networks share, is full: containers do not find each other",
            "raise it: `sudo sysctl net.ipv4.neigh.default.gc_thresh3=16384` (docs/scale.md says how to keep it)",
        )
    return None
