"""What a host or a network has no more of: from the engine's and the kernel's words, or from what /proc counts, to one
sentence and the way past it. docs/scale.md shows each of them, run into on purpose.
"""

from __future__ import annotations

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
        r"resource temporarily unavailable|can't start new thread|pthread_create failed|newosproc",
        Shortage(
            "no more processes can be started: the host's process numbers, or those of the apps' user, are used up",
            "the host's: `sudo sysctl kernel.pid_max=4194304`; of the apps' user (`nproc`) docs/scale.md has more",
        ),
    ),
)


def told(words: str) -> Shortage | None:
    """What has run out, when these words of the engine's or of a program's say so."""
    return next((found for pattern, found in _WORDS if re.search(pattern, words, re.IGNORECASE)), None)


def overflows() -> int:
    """How often since the host's start the kernel's neighbour table took no further entry; 0 where that is not told.

    All network namespaces share the table, and the host's own shows the count, a line for each processor.
    """
    try:
        head, *rows = (line.split() for line in (PROC / "net/stat/arp_cache").read_text().splitlines())
        return sum(int(row[head.index("table_fulls")], 16) for row in rows)
    except (OSError, ValueError, IndexError):
        return 0


def since(before: int) -> Shortage | None:
    """Why containers did not find each other since ``overflows`` gave ``before``; None when it was not for that."""
    if overflows() <= before:
        return None
    return Shortage(
        "the kernel's neighbour table, which all networks share, is full, so that containers do not find each other",
        "raise it: `sudo sysctl net.ipv4.neigh.default.gc_thresh3=16384` (docs/scale.md says how to keep it)",
    )
