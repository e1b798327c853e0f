"""``python -m tests.bench [PART…] [--size N…] [--write-docs]``: measure parts, keep their results, show them."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time

from tests.bench import PARTS, SIZES, Options, report


def main() -> int:
    """Exit 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    parser.add_argument("--only", default="", metavar="TEXT", help="of a part, the results with this in their name")
    parser.add_argument(
        "--size", type=int, action="append", metavar="N", help="of deploys, how many services (default: 1, 10, 50, 100)"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="keep the results and put them into docs/benchmarks.md"
    )
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="at most N of each measurement")
    parser.add_argument("--kept", action="store_true", help="measure nothing: write the docs from what was kept")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part `{unknown[0]}`: there are {', '.join(PARTS)}")
    if options.kept:
        report.write()
        return 0
    # As Ctrl-C: what is measured is removed also when the run is cut off.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed = 0
    for part in options.parts or PARTS:
        # Rows of two runs are no comparison: only a run of some of them leaves the others.
        if options.write_docs and not options.only:
            report.forget(part)
        begin = time.monotonic()
        for result in report.module(part).run(Options(options.only, tuple(options.size or SIZES), options.rounds)):
            failed += "error" in result
            print(f"{part}: {json.dumps(result, ensure_ascii=False)}", flush=True)
            if options.write_docs:
                report.keep(part, result)
                report.write()
        print(f"{part}: {time.monotonic() - begin:.0f} s", flush=True)
    if failed:
        print(f"{failed} results could not be measured", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
