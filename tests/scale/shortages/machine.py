"""What all of the machine has in common: run with nothing else beside, and put back afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karst import exhausted
from tests.scale import host
from tests.scale.shortages import bench

SYSCTL = Path("/proc/sys")
THRESHOLDS = (
    "net/ipv4/neigh/default/gc_thresh1",
    "net/ipv4/neigh/default/gc_thresh2",
    "net/ipv4/neigh/default/gc_thresh3",
)
FEW_ENTRIES = (8, 16, 24)
INSTANCES = "fs/inotify/max_user_instances"


@contextlib.contextmanager
def kept(*names: str) -> Iterator[dict[str, str]]:
    """The values of these settings of the kernel's, which are there again afterwards."""
    before = {name: (SYSCTL / name).read_text().strip() for name in names}
    try:
        yield before
    finally:
        put(before)


def put(values: dict[str, str]) -> None:
    for name, value in values.items():
        (SYSCTL / name).write_text(value)


def neighbours() -> dict[str, Any]:
    """The neighbour table, which all network namespaces share."""
    with bench.shared("neighbours", "entries of the neighbour table (`gc_thresh3`)") as b:
        b.begin()
        in_use, before_it = host.used()["neighbours"], exhausted.counts().overflows
        with kept(*THRESHOLDS) as before:
            put(dict(zip(THRESHOLDS, map(str, FEW_ENTRIES), strict=True)))
            b.breaks()
        b.short(
            f"{FEW_ENTRIES[-1]} of {int(before[THRESHOLDS[-1]]):,}, where {bench.FEW} services had {in_use}: "
            f"{exhausted.counts().overflows - before_it:,} times there was no entry to be had"
        )
        b.past("`sysctl net.ipv4.neigh.default.gc_thresh3` put back")
        return b.result


def inotify() -> dict[str, Any]:
    """Inotify instances, of which each Envoy has six: refused before anything is changed."""
    with bench.shared("inotify", "inotify instances of a user") as b:
        b.begin()
        with kept(INSTANCES) as before:
            put({INSTANCES: "64"})
            b.short(f"64 of {int(before[INSTANCES]):,}")
            b.breaks()
        b.past("`sysctl fs.inotify.max_user_instances` put back")
        return b.result
