"""The mesh beside pairs of haproxy and nginx that do the same mTLS: times at equal rates, requests a second, CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import Options, svg
from tests.bench.mesh.compare import Load, compare
from tests.bench.mesh.load import PROTOCOLS
from tests.bench.mesh.stage import OURS, PEERS, SIZES, Stage, Variant
from tests.support import reports

ROUNDS = 3
DIRECT = "direct"
SMALL, LARGE = SIZES
# Rates that no system is busy at, with 100 kB and a slow machine, too; 0 is all that goes.
RATES = {SMALL: (500.0, 1000.0, 0.0), LARGE: (200.0, 0.0)}


def loads() -> list[Load]:
    """All that is measured, most telling first."""
    two = [
        Load(2, protocol, size, rate, 1.5 if rate else 0.8)
        for protocol in PROTOCOLS
        for size in SIZES
        for rate in RATES[size]
    ]
    return two + [Load(1, protocol, size, RATES[size][0], 1.2) for protocol in PROTOCOLS for size in SIZES]


def run(options: Options) -> Iterator[dict[str, Any]]:
    """One result for each kind of load."""
    wanted = [load for load in loads() if options.only in load.name]
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder:
        Path(folder).chmod(0o755)  # the containers' users look into it
        stage = Stage(Path(folder))
        try:
            stage.start([Variant()])
            for load in wanted:
                yield compare(stage, load, [OURS, *PEERS, *([DIRECT] if load.hops == 2 else [])], ROUNDS)
        finally:
            stage.close()


def tables(results: list[dict[str, Any]]) -> str:
    """Times, requests a second and CPU, each with the ratio that the aims speak of."""
    rows = [row for row in results if OURS in row.get("systems", {})]
    two, one = ([row for row in rows if row["hops"] == hops] for hops in (2, 1))
    parts = [
        _times("Two sidecars, p50 / p99 in ms at the same rate", [row for row in two if row["rate"]]),
        _saturated([row for row in two if not row["rate"]]),
        _cpu("CPU in ms per request, caller's + called side's proxy", [row for row in two if row["rate"]]),
        _times("One sidecar (the caller speaks mTLS itself), p50 / p99 in ms", one),
        _cpu("CPU in ms per request of the one proxy", one),
        _failed(rows),
    ]
    parts += [
        f"Could not be measured: {row['name']}, {system}: {said}."
        for row in results
        for system, said in row.get("failures", {}).items()
    ]
    return "\n\n".join(part for part in parts if part)


def pictures(results: list[dict[str, Any]]) -> dict[str, str]:
    """Times and CPU of the three pairs at the lowest rate with the small body."""
    pairs = (OURS, *PEERS)
    alike = [row for row in results if (row.get("hops"), row.get("size"), row.get("rate")) == (2, SMALL, 500)]
    rows = [row for row in alike if all(pair in row["systems"] for pair in pairs)]
    if not rows:
        return {}
    panels = [
        svg.Panel(
            title,
            [row["protocol"] for row in rows],
            {pair: [of(row["systems"][pair]) for row in rows] for pair in pairs},
        )
        for title, of in (
            ("p50 at 500/s, ms", lambda one: one["p50"]),
            ("p99 at 500/s, ms", lambda one: one["p99"]),
            ("CPU per request and pair, ms", lambda one: sum(one["cpu"])),
        )
    ]
    alt = "Times and CPU per request of two sidecars, of two haproxy and of two nginx, by protocol."
    return {"bench-mesh.svg": svg.bars(alt, panels)}


def _what(row: dict[str, Any]) -> str:
    pace = f", {row['rate']:g}/s" if row["rate"] else ""
    return f"{row['protocol']}, {row['size'] // 1000} kB{pace}"


def _systems(rows: list[dict[str, Any]]) -> list[str]:
    return [name for name in (DIRECT, OURS, *PEERS) if any(name in row["systems"] for row in rows)]


def _times(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    names, cells = _systems(rows), []
    for row in rows:
        of = row["systems"]
        peers = [of[peer] for peer in PEERS if peer in of]
        ratios = [of[OURS][part] / min(peer[part] for peer in peers) for part in ("p50", "p99") if peers]
        times = [f"{of[name]['p50']:.2f} / {of[name]['p99']:.2f}" if name in of else "–" for name in names]
        cells.append([_what(row), *times, " / ".join(f"{ratio:.2f}" for ratio in ratios) or "–"])
    return f"{title}:\n\n{reports.table(['load', *names, '× the best pair'], cells)}"


def _saturated(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    names, cells = _systems(rows), []
    for row in rows:
        of = {name: one["per_second"] for name, one in row["systems"].items()}
        best = max((of[peer] for peer in PEERS if peer in of), default=None)
        ratio = f"{of[OURS] / best:.2f}" if best else "–"
        cells.append([_what(row), *(f"{of[name]:,.0f}" if name in of else "–" for name in names), ratio])
    title = "Two sidecars, requests a second, as many as go (8 connections; load, proxies and app share the machine)"
    return f"{title}:\n\n{reports.table(['load', *names, '× the best pair'], cells)}"


def _cpu(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    names, cells = [OURS, *PEERS], []
    for row in rows:
        of = {name: one["cpu"] for name, one in row["systems"].items()}
        ratio = f"{sum(of[OURS]) / sum(of['haproxy']):.2f}" if "haproxy" in of else "–"
        used = (" + ".join(f"{one:.3f}" for one in of[name]) if name in of else "–" for name in names)
        cells.append([_what(row), *used, ratio])
    return f"{title}:\n\n{reports.table(['load', *names, '× haproxy'], cells)}"


def _failed(rows: list[dict[str, Any]]) -> str:
    sums = {
        name: [sum(row["systems"][name][what] for row in rows if name in row["systems"]) for what in ("failed", "sent")]
        for name in (OURS, *PEERS)
    }
    said = ", ".join(f"{name} {failed:,} of {sent:,}" for name, (failed, sent) in sums.items())
    return f"Requests that failed while this was measured: {said}." if rows else ""
