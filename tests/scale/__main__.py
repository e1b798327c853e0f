"""``python -m tests.scale [--plan N…] [--create N…] [--write-docs]``: plan and create stacks of these sizes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.scale import create, plan, report, results

PLAN, CREATE = [50, 100, 200], [20, 50]
LONG = 1000  # for the kit's own programs alone: Terraform's plan of so many takes longer than anybody waits


def main() -> int:
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument(
        "--plan", nargs="*", type=int, metavar="N", help=f"numbers of services to plan (default {PLAN})"
    )
    parser.add_argument("--create", nargs="*", type=int, metavar="N", help=f"… to create (default {CREATE})")
    parser.add_argument("--parts", nargs="*", choices=plan.PARTS, default=plan.PARTS, help="of a plan, only these")
    parser.add_argument("--home", type=Path, help="of one plan, a folder that stays for the next part")
    parser.add_argument("--write-docs", action="store_true", help="keep the results and write docs/scale.md's tables")
    options = parser.parse_args()
    if options.plan is None and options.create is None:
        options.plan, options.create = PLAN, _sizes(os.environ.get("SIZES", "")) or CREATE
        for result in plan.run(LONG, ["helpers"]):
            _keep(result, options.write_docs)
    for count in options.plan or []:
        for result in plan.run(count, options.parts, options.home):
            _keep(result, options.write_docs)
    for count in options.create or []:
        _keep(create.run(count), options.write_docs)
    if options.write_docs:
        report.write()
    return 0


def _sizes(text: str) -> list[int]:
    """``SIZES`` of the Makefile: numbers of services to create."""
    words = text.split()
    if wrong := [word for word in words if not word.isascii() or not word.isdigit() or int(word) < 3]:
        sys.exit(f'SIZES: `{wrong[0]}` is no number of services (3 or more), as in `make scale SIZES="20 50 200"`')
    return [int(word) for word in words]


def _keep(result: dict[str, object], keep: bool) -> None:
    if keep:
        results.save(result)
    else:
        print(result, flush=True)


if __name__ == "__main__":
    sys.exit(main())
