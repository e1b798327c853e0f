"""What a host has of what services use up, and how much of it is in use: read from /proc and from the engine."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")
ENGINE = ("dockerd", "containerd", "containerd-shim", "docker-proxy")
TICKS = os.sysconf("SC_CLK_TCK")


def number(path: str, default: int = 0) -> int:
    """The first number in a file of /proc or /sys."""
    try:
        return int(Path(path).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return default


def used() -> dict[str, int]:
    """How much of each thing is in use on the whole host."""
    memory = meminfo()
    stat = Path("/proc/net/stat/arp_cache").read_text().splitlines()[1].split()
    return {
        "memory_mib": (memory["MemTotal"] - memory["MemAvailable"]) // 1024,
        "files": number("/proc/sys/fs/file-nr"),
        "neighbours": int(stat[0], 16),
    }


def limits() -> dict[str, int]:
    """How much of it there may be."""
    return {
        "memory_mib": meminfo()["MemTotal"] // 1024,
        "threads": min(number("/proc/sys/kernel/pid_max"), number("/proc/sys/kernel/threads-max")),
        "files": number("/proc/sys/fs/file-max"),
        "neighbours": number("/proc/sys/net/ipv4/neigh/default/gc_thresh3"),
        "inotify": number("/proc/sys/fs/inotify/max_user_instances"),
    }


def meminfo() -> dict[str, int]:
    lines = (line.split(":") for line in (PROC / "meminfo").read_text().splitlines())
    return {key: int(value.split()[0]) for key, value in lines}


def processes() -> Iterator[tuple[int, dict[str, str]]]:
    """(pid, fields of /proc/<pid>/status) of every process."""
    for path in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (path / "status").read_text().splitlines()
            yield int(path.name), {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def engine_memory_mib() -> float:
    """What dockerd, containerd and the shims hold, shared pages counted once."""
    total = 0
    for pid, status in processes():
        if status.get("Name", "") in {one[:15] for one in ENGINE}:
            with contextlib.suppress(OSError):
                rollup = (PROC / str(pid) / "smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


def threads(pids: set[int], uid: int | None = None) -> int:
    """Threads of these processes; with ``uid``, of that user's, which is what RLIMIT_NPROC counts."""
    mine = (status for pid, status in processes() if pid in pids)
    found = (one for one in mine if uid is None or one.get("Uid", "-1").split()[0] == str(uid))
    return sum(int(status.get("Threads", "0")) for status in found)


def inotify_of(pids: set[int]) -> int:
    """Inotify instances that these processes hold."""
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            links = (os.readlink(one) for one in (PROC / str(pid) / "fd").iterdir())
            found += sum(link == "anon_inode:inotify" for link in links)
    return found


def ticks(pids: set[int]) -> int:
    """Processor time of these processes, in clock ticks."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total


def processor_share(pids: set[int], seconds: float) -> float:
    """Cores that these processes use while nothing happens."""
    before, begun = ticks(pids), time.monotonic()
    time.sleep(seconds)
    return (ticks(pids) - before) / TICKS / (time.monotonic() - begun)


def bridge_ports(network_id: str) -> int:
    folder = Path(f"/sys/class/net/br-{network_id[:12]}/brif")
    return len(list(folder.iterdir())) if folder.exists() else 0


def tree(roots: set[int]) -> set[int]:
    """These processes and all that they started."""
    return descendants(roots, {pid: int(status.get("PPid", "0")) for pid, status in processes()})


def descendants(roots: set[int], parents: Mapping[int, int]) -> set[int]:
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


class Peak:
    """The most memory that was held at once, in MiB.

    Attributes:
        mib: of this one's processes with a name that begins with ``prefix``.
        host_mib: of the whole host.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix[:15]
        self._done = threading.Event()
        self.mib = 0.0
        self.host_mib = 0

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        took = 0.0
        while not self._done.wait(max(0.3, 20 * took)):  # with hundreds of services a look takes a while
            begun = time.monotonic()
            now = dict(processes())
            own = descendants({os.getpid()}, {pid: int(status.get("PPid", "0")) for pid, status in now.items()})
            found = (status for pid, status in now.items() if pid in own)
            sizes = [int(one.get("VmRSS", "0").split()[0]) for one in found if one["Name"].startswith(self._prefix)]
            self.mib = max(self.mib, sum(sizes) / 1024)
            self.host_mib = max(self.host_mib, used()["memory_mib"])
            took = time.monotonic() - begun


def processor_since(before: resource.struct_rusage) -> float:
    """Processor seconds of the programs that ended since then: what else the machine does is not in it."""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)


def timed(command: list[str], **options: Any) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run ``command``; return its seconds and what it said. A failure is an error with its last words."""
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        told = [line for line in done.stdout.splitlines() if '"@level":"error"' in line] or done.stdout.splitlines()
        raise RuntimeError("\n".join([f"{command[0]} ended with {done.returncode}", *told[-5:], done.stderr[-4000:]]))
    return round(time.monotonic() - begun, 1), done
