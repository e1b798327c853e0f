"""How many processes a command starts, itself included: from the kernel's own notes of forks (proc connector).

Counts the command and what descends from it: Terraform, its providers, helper scripts, shells. What the engine starts
on its behalf is not of it. The notes are root's; without them (another system, no rights) there is no count.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time

# linux/cn_proc.h and linux/connector.h
_NETLINK_CONNECTOR, _CN_IDX_PROC, _NLMSG_DONE, _LISTEN = 11, 1, 3, 1
_FORK = 0x1
_HEADERS = struct.Struct("=IHHII IIIIHH")  # nlmsghdr, cn_msg
_EVENT = struct.Struct("=IIQ iiii")  # what, cpu, time; of a fork: parent's pid and tgid, child's pid and tgid


class Counter:
    """``with Counter() as counter: …; counter.count(pid)``: forks are noted while it is open."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._forks: list[tuple[int, int]] = []
        self._thread: threading.Thread | None = None
        self._end = float("inf")

    def __enter__(self) -> Counter:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
            self._socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: none may be lost
            self._socket.bind((os.getpid(), _CN_IDX_PROC))
            body = struct.pack("=I", _LISTEN)
            size = _HEADERS.size + len(body)
            self._socket.send(
                _HEADERS.pack(size, _NLMSG_DONE, 0, 0, os.getpid(), _CN_IDX_PROC, 1, 0, 0, len(body), 0) + body
            )
            self._socket.settimeout(0.1)
        except (OSError, AttributeError):
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            return self
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end = time.monotonic() + 0.2  # what has been sent is read by then; others start processes all the time
        if self._thread is not None and self._socket is not None:
            self._thread.join()
            self._socket.close()

    def _read(self) -> None:
        assert self._socket is not None
        while time.monotonic() < self._end:
            try:
                note = self._socket.recv(4096)
            except TimeoutError:
                continue
            if len(note) < _HEADERS.size + _EVENT.size:
                continue
            what, _, _, _, parent, child, group = _EVENT.unpack_from(note, _HEADERS.size)
            if what == _FORK and child == group:  # else it is a thread
                self._forks.append((parent, child))

    @property
    def works(self) -> bool:
        return self._thread is not None

    def count(self, root: int) -> int | None:
        """The process ``root`` and all that descend from it; None without the kernel's notes."""
        if not self.works:
            return None
        ours = {root}
        total = 1
        for parent, child in self._forks:
            if parent in ours and child != root:
                ours.add(child)
                total += 1
        return total
