"""What was tried to bring our pair closer to the others: each change beside the pair as deployed, in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import Options
from tests.bench.mesh.compare import Load, compare
from tests.bench.mesh.stage import OURS, Stage, Variant
from tests.bench.mesh.variants import VARIANTS
from tests.support import reports

ROUNDS = 3
AT_ONCE = 5  # pairs that run beside the deployed one; more would be more idle work
LOADS = [
    Load(2, "HTTP/1.1", 1_000, 1000, 1.2),
    Load(2, "HTTP/1.1", 1_000, 0, 0.8),
    Load(2, "HTTP/1.1", 100_000, 200, 1.2),
    Load(2, "gRPC", 1_000, 1000, 1.2),
]


def run(options: Options) -> Iterator[dict[str, Any]]:
    """One result for each variant: figures of it and of the pair as deployed, by load."""
    wanted = [variant for variant in VARIANTS if options.only in variant.name]
    for first in range(0, len(wanted), AT_ONCE):
        yield from _some(wanted[first : first + AT_ONCE])


def _some(variants: list[Variant]) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {variant.name: {} for variant in variants}
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder:
        Path(folder).chmod(0o755)
        stage = Stage(Path(folder))
        try:
            stage.start([Variant(), *variants], peers=())
            for load in LOADS:
                made = compare(stage, load, [OURS, *found], ROUNDS)
                assert not made["failures"], f"{load.name}: {made['failures']}"
                said = made["systems"]
                for name, loads in found.items():
                    loads[load.name] = {"deployed": said[OURS], "changed": said[name]}
            yield from ({"name": one.name, "what": one.what, "loads": found[one.name]} for one in variants)
        except AssertionError as err:
            yield from ({"name": one.name, "error": str(err)[:300]} for one in variants)
        finally:
            stage.close()


def tables(results: list[dict[str, Any]]) -> str:
    """For each variant the ratio to the pair as deployed: CPU per request, p50 and p99, or requests a second."""
    names = [load.name.partition(", ")[2] for load in LOADS]
    rows = [
        [f"`{row['name']}`: {row['what']}", *(_ratios(row["loads"].get(load.name)) for load in LOADS)]
        for row in results
        if "error" not in row
    ]
    parts = [reports.table(["changed", *names], rows)] if rows else []
    parts += [f"Could not be measured: {row['name']} ({row['error']})." for row in results if "error" in row]
    return "\n\n".join(parts)


def pictures(results: list[dict[str, Any]]) -> dict[str, str]:
    """None."""
    del results
    return {}


def _ratios(load: dict[str, Any] | None) -> str:
    if load is None:
        return ""
    changed, deployed = load["changed"], load["deployed"]
    if changed["failed"]:
        return f"{changed['failed']} of {changed['sent']} failed"
    cpu = sum(changed["cpu"]) / sum(deployed["cpu"])
    if "per_second" in changed:
        return f"{cpu:.2f}; {changed['per_second'] / deployed['per_second']:.2f} requests/s"
    return f"{cpu:.2f}; {changed['p50'] / deployed['p50']:.2f} / {changed['p99'] / deployed['p99']:.2f}"
