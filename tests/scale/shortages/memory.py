"""Memory of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scale.shortages import bench
from tests.support.engine import Engine

MEBIBYTES = 400


def run() -> dict[str, Any]:
    """A limit for all containers of the engine's machine together: the kernel kills one of them when it is reached."""
    with bench.private("memory", "memory of the host") as b:
        b.begin()
        _limit(b.engine, MEBIBYTES)
        b.short(f"{MEBIBYTES} MiB for all containers")
        b.breaks()
        _limit(b.engine, 16 * MEBIBYTES)
        b.past(f"{16 * MEBIBYTES:,} MiB")
        return b.result


def _limit(engine: Engine, mebibytes: int) -> None:
    """Of the control group that all containers of the engine are below: v1 or v2."""
    for path in Path("/sys/fs/cgroup").glob(f"**/{engine.name}/memory.[lm][ia][mx]*"):
        if path.name in ("memory.limit_in_bytes", "memory.max"):
            path.write_text(str(mebibytes * 2**20))
            return
    raise RuntimeError(f"{engine.name} has no control group with a memory limit")
