"""One kind of load, from several systems in turns: what each round said, and the medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.mesh.stage import Stage

HOPS = ("direct", "one sidecar", "two sidecars")


@dataclass(frozen=True)
class Load:
    """Attributes: proxies on the way; protocol; bytes of an answer; requests a second, 0 for all that goes; seconds."""

    hops: int
    protocol: str
    size: int
    rate: float
    seconds: float

    @property
    def name(self) -> str:
        pace = f"{self.rate:g}/s" if self.rate else "saturated"
        return f"{HOPS[self.hops]}, {self.protocol}, {self.size // 1000} kB, {pace}"


def compare(stage: Stage, load: Load, systems: Sequence[str], rounds: int) -> dict[str, Any]:
    """Each round asks every system once, in an order that moves on, so that all see the same machine.

    A system that cannot carry the load says so in ``failures`` and is not asked again.
    """
    found: dict[str, list[dict[str, Any]]] = {system: [] for system in systems}
    failures: dict[str, str] = {}
    for number in range(rounds):
        for place in range(len(systems)):
            system = systems[(place + number) % len(systems)]
            if system in failures:
                continue
            try:
                found[system].append(_slice(stage, load, system))
            except AssertionError as err:
                failures[system] = str(err)[:300]
    return {
        "name": load.name,
        "hops": load.hops,
        "protocol": load.protocol,
        "size": load.size,
        "rate": load.rate,
        "systems": {system: _medians(rows) for system, rows in found.items() if system not in failures},
        "failures": failures,
    }


def _slice(stage: Stage, load: Load, system: str) -> dict[str, Any]:
    hops = 0 if system == "direct" else load.hops
    outcome, cpu = stage.load(system, hops, load.protocol, load.size, rate=load.rate, seconds=load.seconds)
    row: dict[str, Any] = {"failed": outcome.failed, "sent": outcome.requests, "cpu": [round(one, 4) for one in cpu]}
    if load.rate:
        return {**row, "p50": round(outcome.quantile(0.5), 3), "p99": round(outcome.quantile(0.99), 3)}
    return {**row, "per_second": round(outcome.per_second)}


def _medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure; of the counts the sum."""
    said: dict[str, Any] = {name: sum(row[name] for row in rows) for name in ("sent", "failed")}
    for name in ("p50", "p99", "per_second"):
        if name in rows[0]:
            said[name] = median(row[name] for row in rows)
            said[f"{name}_range"] = [min(row[name] for row in rows), max(row[name] for row in rows)]
    said["cpu"] = [round(median(row["cpu"][place] for row in rows), 4) for place in range(len(rows[0]["cpu"]))]
    return said
