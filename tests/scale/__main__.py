"""``python -m tests.scale [--plan|order|create N…] [--split N] [--short NAME…] [--write-docs]``; without any: all."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scale import create, order, plan, report, results, split, steps
from tests.scale.shortages import addresses, bridge, callers, machine, memory, processes

PLAN, ORDER, CREATE, SPLIT = [50, 200, 1000], [25, 50, 100], [20, 50], 40
SHORTAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "bridge": bridge.run,
    "addresses": addresses.network,
    "pools": addresses.pools,
    "callers": callers.run,
    "numbers": processes.numbers,
    "user": processes.user,
    "memory": memory.run,
    "neighbours": machine.neighbours,
    "inotify": machine.inotify,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument("--plan", nargs="*", type=int, default=[], metavar="N", help=f"services to plan ({PLAN})")
    parser.add_argument("--order", nargs="*", type=int, default=[], metavar="N", help=f"… to put in order ({ORDER})")
    parser.add_argument("--create", nargs="*", type=int, default=[], metavar="N", help=f"… to create ({CREATE})")
    parser.add_argument("--split", type=int, metavar="N", help=f"… in one stack and in two ({SPLIT})")
    parser.add_argument("--short", nargs="*", default=[], choices=SHORTAGES, help="run into these limits on purpose")
    parser.add_argument("--parts", nargs="*", choices=plan.PARTS, default=plan.PARTS, help="of a plan, only these")
    parser.add_argument("--home", type=Path, help="of one plan, a folder that stays for the next part")
    parser.add_argument("--minutes", type=float, help="for each creation; what is not done by then is given up")
    parser.add_argument("--write-docs", action="store_true", help="keep the results and write docs/scale.md's tables")
    options = parser.parse_args()
    if not (options.plan or options.order or options.create or options.split or options.short):
        options.create = _sizes(os.environ.get("SIZES", "")) or CREATE
        options.plan, options.order, options.split, options.short = PLAN, ORDER, SPLIT, list(SHORTAGES)
    # As Ctrl-C: what was lowered is put back, and stacks are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for result in _all(options):
        if options.write_docs:
            results.save(result)
            report.write()
        else:
            print(result, flush=True)
    return 0


def _all(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for count in options.plan:
        yield from plan.run(count, options.parts, options.home)
    for count in options.order:
        yield from order.run(count)
    for count in options.create:
        yield from create.run(count, steps.Clock(options.minutes and 60 * options.minutes))
    if options.split:
        yield from split.run(options.split)
    for name in options.short:
        try:
            yield SHORTAGES[name]()
        except (pytest.skip.Exception, RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as why:
            print(f"shortage {name}: not tried: {why}", flush=True)


def _sizes(text: str) -> list[int]:
    """``SIZES`` of the Makefile: numbers of services to create."""
    words = text.split()
    if wrong := [word for word in words if not word.isascii() or not word.isdigit() or int(word) < 3]:
        sys.exit(f'SIZES: `{wrong[0]}` is no number of services (3 or more), as in `make scale SIZES="20 50 200"`')
    return [int(word) for word in words]


if __name__ == "__main__":
    sys.exit(main())
