"""One change under load, from the first request to the last answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.traffic import Sender, Traffic, running

WARM = 3.0  # seconds of load before the change
LEAST = 27.0  # seconds of load in all: 5,400 requests at 200 a second
AFTER = 5.0  # seconds of load after the change


def watch(
    name: str,
    path: str,
    chosen: list[Sender],
    change: Callable[[Traffic], dict[str, Any]],
    *,
    least: float = LEAST,
    after: float = AFTER,
) -> dict[str, Any]:
    """Run ``change`` under the load of ``chosen``; return what it says, its seconds, and what became of the load."""
    busy = os.getloadavg()[0]
    with running(*chosen) as traffic:
        traffic.until(WARM)
        traffic.mark("change")
        begin = time.monotonic()
        said = change(traffic)
        seconds = round(time.monotonic() - begin, 1)
        traffic.mark("after")
        traffic.until(max(least, traffic.now + after))
        outcome = traffic.finish()
    result = {"name": name, "path": path, "seconds": seconds, "busy_before": round(busy, 1), "change": said, **outcome}
    print(line(result), flush=True)
    return result


def line(result: dict[str, Any]) -> str:
    """The result in one line."""
    parts = [f"{result['name']} ({result['path']}): change {result['seconds']} s"]
    for name, group in result["groups"].items():
        parts.append(
            f"{name.partition('|')[2] if result['path'] != 'both' else name} {group['failed']}/{group['sent']}"
        )
        if group["down_seconds"]:
            parts.append(f"down {group['down_seconds']} s")
    return ", ".join(parts)


def lost(result: dict[str, Any]) -> int:
    """Failed requests, without those that were meant to be cut."""
    return sum(group["failed"] for name, group in result["groups"].items() if not name.endswith("|beyond"))
