"""``python -m tests.corpus [--set build|held-out|all] [--write-docs] [--min SHARE]``: print and keep the scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.corpus import score

DOCS = Path(__file__).parents[2] / "docs" / "detection.md"
BEGIN, END = "<!-- corpus: begin -->", "<!-- corpus: end -->"


def main() -> int:
    """Exit 1 when an answer is silently wrong in more cases, or the share right is lower, than allowed."""
    parser = argparse.ArgumentParser(prog="corpus", description=__doc__)
    parser.add_argument("--set", choices=[*score.SETS, "all"], default="all", dest="which")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/detection.md")
    parser.add_argument(
        "--min", type=float, default=0.9, metavar="SHARE", help="share of right answers asked for (0.9)"
    )
    parser.add_argument("--verbose", action="store_true", help="show right answers as well")
    options = parser.parse_args()
    names = list(score.SETS) if options.which == "all" else [options.which]
    tables: list[str] = []
    low = False
    for name in names:
        results = [score.judge(case) for case in score.load(score.SETS[name])]
        total = score.totals(results)
        low = low or total["asked"] == 0 or total["share"] < options.min
        print(f"\n{name}: {total['right']} of {total['asked']} right ({total['share']:.0%}), "
              f"{total['refused']} refused, {total['wrong']} silently wrong, {total['skipped']} skipped")  # fmt: skip
        for result in results:
            if result.verdict != "right" or options.verbose:
                print(f"  {result.verdict:8} {result.case.name}: {result.answer or result.detail}")
                if result.answer:
                    print(f"           expected {' or '.join(result.case.expect)}; {result.detail}")
        tables.append(table(name, results))
    if options.write_docs:
        if any(score.totals([score.judge(c) for c in score.load(score.SETS[n])])["skipped"] for n in names):
            print("corpus: some sources were skipped, so docs/detection.md is left as it is", file=sys.stderr)
            return 1
        text = DOCS.read_text()
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        DOCS.write_text(f"{head}{BEGIN}\n\n" + "\n".join(tables) + f"\n{END}{tail}")
    return 1 if low else 0


def table(name: str, results: list[score.Result]) -> str:
    """One set as Markdown."""
    total = score.totals(results)
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
