"""``python -m tests.chaos [PART…] [--path caller|edge] [--write-docs]``: run parts, keep their results, show them."""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.chaos import report, results
from tests.chaos.scenario import lost

PARTS = ("deploys", "rotations", "peers", "kills", "soak", "hosts", "swarm")
PATHS = ("caller", "edge")


def main() -> int:
    """Exit 1 when a request failed in a part that must lose none."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    parser.add_argument(
        "--path", choices=PATHS, action="append", help="where the load comes from (default: both, in turn)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="of a part, the scenarios with this in their name")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="keep the results and put them into docs/reliability.md, docs/hosts.md and docs/swarm.md",
    )
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part `{unknown[0]}`: there are {', '.join(PARTS)}")
    bad = 0
    for part in options.parts or PARTS:
        for result in importlib.import_module(f"tests.chaos.{part}").run(options.path or list(PATHS), options.only):
            if options.write_docs:
                results.save(part, result)
            if part in ("deploys", "rotations"):
                bad += lost(result)
    if options.write_docs:
        report.write()
    if bad:
        print(f"{bad} requests failed where none may", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
