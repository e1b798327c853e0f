"""Which processes and listening sockets are the app's, and whether it is busy: read from /proc.

The network namespace is shared with the sidecar, so a listening socket counts only when one of the app's processes
holds it. Where that cannot be seen (a process that changed its user), every socket of no known owner counts, except on
the ports of the kit.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from .sockets import Listener

_TICKS = os.sysconf("SC_CLK_TCK")


def families(proc: str = "/proc") -> dict[int, list[int]]:
    """Return every process's living children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(proc):
        if name.isdecimal():
            stat = _stat(f"{proc}/{name}/stat")
            if stat and stat[0] != "Z":
                children.setdefault(int(stat[1]), []).append(int(name))
    return children


def descendants(root: int, proc: str = "/proc") -> list[int]:
    """Return the processes below ``root``, without ``root``."""
    children = families(proc)
    found: list[int] = []
    todo = list(children.get(root, ()))
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, ())
    return found


def cpu_seconds(pids: Collection[int], proc: str = "/proc") -> float:
    """Return the processor time these processes have used so far."""
    stats = [_stat(f"{proc}/{pid}/stat") for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats if stat) / _TICKS


def _stat(path: str) -> list[str]:
    """Return the fields after the command's name (state, parent, …), or nothing when the process is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()
    except OSError:
        return []


class Owned:
    """Which listening sockets are the app's. Remembers answers: an inode never changes its owner."""

    def __init__(self, root: int, proc: str = "/proc", kit_ports: Collection[int] = ()) -> None:
        self._root = root
        self._proc = proc
        self._kit_ports = kit_ports
        self._known: dict[int, bool] = {}

    def among(self, listeners: Collection[Listener]) -> list[Listener]:
        unknown = {listener.inode for listener in listeners} - self._known.keys()
        if unknown:
            seen, blind = self._inodes()
            if blind:
                seen |= {listener.inode for listener in listeners if listener.port not in self._kit_ports}
            # An unseen socket may be asked about again: a child may have inherited it between the two reads.
            self._known = {inode: True for inode in self._known.keys() | unknown if inode in seen}
        return [listener for listener in listeners if self._known.get(listener.inode)]

    def _inodes(self) -> tuple[set[int], bool]:
        found: set[int] = set()
        blind = False
        own = _sockets(f"{self._proc}/{self._root}/fd") or set()
        for pid in descendants(self._root, self._proc):
            sockets = _sockets(f"{self._proc}/{pid}/fd")
            if sockets is None:
                blind = blind or not self._leaving(pid)
            else:
                found |= sockets
        return found - own, blind

    def _leaving(self, pid: int) -> bool:
        """Whether the process is ending: once it has no memory (vsize), the kernel gives its /proc/PID/fd to root."""
        stat = _stat(f"{self._proc}/{pid}/stat")
        return not stat or stat[20] == "0"


def _sockets(folder: str) -> set[int] | None:
    """Return the socket inodes among a process's descriptors; None when we may not look."""
    found = set()
    try:
        for name in os.listdir(folder):
            try:
                target = os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except FileNotFoundError:  # it ended meanwhile
        return set()
    except PermissionError:
        return None
    return found
