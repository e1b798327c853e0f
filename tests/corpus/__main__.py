"""``python -m tests.corpus [--set build|held-out|all] [--write-docs] [--min SHARE]``: print and keep the scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.corpus import score

DOCS = Path(__file__).parents[2] / "docs" / "detection.md"
BEGIN, END = "<!-- corpus: begin -->", "<!-- corpus: end -->"


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
        print(f"\n{skipped} sources were SKIPPED: see tests/corpus/sources.py for how to have them", file=sys.stderr)
    if options.write_docs:
        if skipped:
            print("docs/detection.md is left as it is", file=sys.stderr)
            return 1
        text = DOCS.read_text()
        tables = "\n".join(table(name, totals[name], results) for name, results in answers.items())
        DOCS.write_text(f"{text.split(BEGIN)[0]}{BEGIN}\n\n{tables}\n{END}{text.split(END)[1]}")
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


def table(name: str, total: dict[str, Any], results: list[score.Result]) -> str:
    """One set as Markdown."""
    lines = [
        f"### {name}: {total['right']} of {total['asked']} right, {total['refused']} refused, "
        f"{total['wrong']} silently wrong",
        "",
        "| repository or archive | a reader's answer | the detector's | |",
        "| --- | --- | --- | --- |",
    ]
    for result in results:
        expect = " / ".join(f"`{item}`" for item in result.case.expect)
        lines.append(f"| {result.case.name} | {expect} | `{result.answer or 'skipped'}` | {result.verdict} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
