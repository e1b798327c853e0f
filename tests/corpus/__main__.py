"""``python -m tests.corpus [--set build|held-out|all] [--write-docs] [--min SHARE]``: print and keep the scores."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.corpus import score, tables

DOCS = Path(__file__).parents[2] / "docs" / "detection.md"


def main() -> int:
    """Exit 1 when a set has a lower share of right answers than asked for, or when nothing could be asked at all."""
    parser = argparse.ArgumentParser(prog="corpus", description=__doc__)
    parser.add_argument("--set", choices=[*score.SETS, "all"], default="all", dest="which")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/detection.md")
    parser.add_argument(
        "--min", type=float, default=0.9, metavar="SHARE", help="share of right answers asked for (0.9)"
    )
    parser.add_argument("--verbose", action="store_true", help="show right answers as well")
    options = parser.parse_args()
    names = list(score.SETS) if options.which == "all" else [options.which]
    answers = {name: [score.judge(case) for case in score.load(score.SETS[name])] for name in names}
    totals = {name: score.totals(results) for name, results in answers.items()}
    for name, results in answers.items():
        show(name, totals[name], results, verbose=options.verbose)
    skipped = sum(total["skipped"] for total in totals.values())
    if skipped:
        tell_skipped(answers)
    if options.write_docs:
        text, kept = tables.written(DOCS.read_text(), answers)
        DOCS.write_text(text)
        print(f"wrote the tables of {', '.join(answers)} into {DOCS.name}; {kept} rows are those of an earlier run")
    low = [name for name, total in totals.items() if total["asked"] and total["share"] < options.min]
    return 1 if low or not any(total["asked"] for total in totals.values()) else 0


def show(name: str, total: dict[str, Any], results: list[score.Result], *, verbose: bool) -> None:
    """The score of one set, and every answer that is not right."""
    print(
        f"\n{name}: {total['right']} of {total['asked']} right ({total['share']:.0%}), "
        f"{total['refused']} refused, {total['wrong']} silently wrong, {total['skipped']} skipped"
    )
    for result in results:
        if result.verdict in ("refused", "wrong") or verbose:
            print(f"  {result.verdict:8} {result.case.name}: {result.answer or result.detail}")
            if result.answer:
                print(f"           expected {' or '.join(result.case.expect)}; {result.detail}")


def tell_skipped(answers: dict[str, list[score.Result]]) -> None:
    """How many sources could not be had, of which sets, and what would bring them."""
    reasons = Counter(
        (
            "are not among the mirrors of KARST_CORPUS_MIRROR"
            if "is not among the mirrors" in result.detail
            else result.detail
        )
        for results in answers.values()
        for result in results
        if result.verdict == "skipped"
    )
    counts = {name: sum(r.verdict == "skipped" for r in results) for name, results in answers.items()}
    print(f"\nSKIPPED {sum(counts.values())} sources", end="", file=sys.stderr)
    print(f" ({', '.join(f'{name} {count}' for name, count in counts.items() if count)}):", file=sys.stderr)
    for reason, count in reasons.most_common(5):
        print(f"  {count}: {reason}", file=sys.stderr)
    print(
        "  The scores above are of the others. KARST_CORPUS_MIRROR names a folder of clones (owner+name);"
        " KARST_CORPUS_ONLINE=1 fetches from the hosts.",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
