"""What `make bench` measures, beside the tools that one would use instead. docs/benchmarks.md is made of its results.

A part is a module of this package whose name is in PARTS, with

- ``run(options: Options) -> Iterator[dict[str, Any]]``: measures, and yields each result as soon as it is there: plain
  JSON with a ``name`` of its own within the part. What fails yields ``{"name": …, "error": "one sentence"}`` and the
  rest goes on. It leaves nothing behind, whatever happens.
- ``tables(results: list[dict[str, Any]]) -> str``: Markdown for the part's markers in docs/benchmarks.md
  (``<!-- begin PART -->``), made with tests.support.reports.table; also of results that are incomplete or failed.
- ``pictures(results) -> dict[str, str]``: SVG (tests.bench.svg) by file name, to be put into docs/images.

The frame does the rest: it keeps results in results/PART.json with machine and day, one line each, and writes the docs.
"""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("deploys", "mesh", "footprint", "variants")
SIZES = (1, 10, 50, 100)


@dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Attributes:
        only: of a part, the results with this in their name; "" is all.
        sizes: numbers of services; only `deploys` takes them.
        rounds: at most so many of each measurement, to try the bench itself; 0 is the part's own number.
    """

    only: str = ""
    sizes: tuple[int, ...] = SIZES
    rounds: int = 0
