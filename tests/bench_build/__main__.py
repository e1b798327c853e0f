"""Measure, print, and write the tables into docs/build.md. Minutes; nothing else should run on the machine."""

from __future__ import annotations

import datetime
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

from tests.bench_build import builds, changes
from tests.support import reports


def main() -> int:
    machine = reports.machine()
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder:
        recipes, sizes = builds.measure(Path(folder) / "builds")
        times = changes.measure(Path(folder) / "changes")
    text = "\n\n".join([_built(recipes, sizes), _changed(times, recipes), f"Machine: {machine}. {_day()}."])
    print(text)
    reports.write("docs/build.md", "bench-build", text)
    return 0


def _built(recipes: list[builds.Recipe], sizes: dict[str, int]) -> str:
    rows = []
    for recipe in recipes:
        seconds = [f"{builds.median(recipe, column):.1f} s" for column in ("cold", "warm", "line", "cached")]
        own = sizes[recipe.name] - (sizes["runner"] if recipe is recipes[0] else sizes["base"])
        rows.append([recipe.name, *seconds, _mb(sizes[recipe.name] - sizes["base"]), _mb(own)])
    _, uv, pip = recipes
    cold, warm = (builds.median(pip, column) / builds.median(uv, column) for column in ("cold", "warm"))
    head = ["image", "cold", "warm packages", "one changed line", "unchanged", "over the base", "its own layers"]
    return f"""{reports.table(head, rows)}

Medians of {builds.COLD_ROUNDS} rounds (cold, warm) and of {builds.ROUNDS}, with the same client and engine, one after
the other in each round. *Cold*: no layer and no package in any cache; *warm packages*: packages in the mount, no
layer. The runner, {_mb(sizes["runner"] - sizes["base"])} over the base, is shared by all services; a hand-written image
has no supervisor, no health over gRPC and no OpenTelemetry. pip instead of uv takes {cold:.1f} × the time cold and
{warm:.1f} × with warm packages, in the same Dockerfile."""


def _changed(times: changes.Times, recipes: list[builds.Recipe]) -> str:
    kit, end = median(times.kit), median(times.kit_end)
    compose, answer = median(times.compose), median(times.compose_answer)
    phases = ", ".join(f"{name} {median(seconds):.1f} s" for name, seconds in times.phases.items())
    each = (median(times.many) - median(times.one)) / changes.MORE
    cached = builds.median(recipes[1], "cached")
    unchanged = (
        f"An unchanged service adds {1000 * each:.0f} ms to a deploy, which is {each / cached:.2f} of a fully cached\n"
        f"`docker build` of it ({1000 * cached:.0f} ms; aim: 0.2)."
        if each > 0
        else "What an unchanged service adds could not be told from the noise of this run."
    )
    rows = [
        ["one changed line until the new version answers over mTLS", f"{kit:.1f} s", f"{answer:.1f} s, no mesh"],
        ["until the command has ended", f"{end:.1f} s", f"{compose:.1f} s"],
        ["nothing changed, one service", f"{median(times.one):.1f} s", f"{cached:.2f} s (`docker build` alone)"],
        [f"nothing changed, {changes.MORE + 1} services", f"{median(times.many):.1f} s", ""],
    ]
    return f"""{reports.table(["", "`iac deploy`", "Compose, `up --build --wait`"], rows)}

Medians of {changes.ROUNDS} rounds, in turns. A changed line serves over mTLS after {kit / compose:.2f} × the time of
`up --build --wait` (aim: 1.2). {unchanged} The phases of a deploy of one changed line:
{phases}; the apply includes the drain of the old generation, which goes on while the new one serves.

While {changes.MORE} more services were built and started by one deploy, the running one answered in {_ms(times.during)}
(before: {_ms(times.idle)}; through the front door and both Envoys, {len(times.during)} requests, none failed)."""


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _ms(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"{1000 * cuts[49]:.1f} ms at the median and {1000 * cuts[98]:.0f} ms at p99"


def _day() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"


if __name__ == "__main__":
    sys.exit(main())
