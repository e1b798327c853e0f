"""The tables of docs/detection.md: written for what could be asked, kept for what could not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.corpus.score import Result, totals

BEGIN, END = "<!-- corpus: begin -->", "<!-- corpus: end -->"
_ROW = re.compile(
    r"^\| (?P<name>\S+) \| (?P<expect>.+?) \| `(?P<answer>[^`]*)` \| (?P<verdict>right|refused|wrong) \|$"
)


def written(text: str, answers: Mapping[str, Sequence[Result]]) -> tuple[str, int]:
    """The document with new tables, and how many of their rows are earlier ones.

    A source that could not be had this time keeps the row it has, as long as the reader's answer in it is still the
    same; sets that were not asked at all keep their tables.
    """
    before, _, rest = text.partition(BEGIN)
    inside, _, after = rest.partition(END)
    old = _sections(inside)
    kept = 0
    for name, results in answers.items():
        rows = [_kept(result, old.get(name, "")) for result in results]
        kept += sum(row is not result and row.verdict != "skipped" for row, result in zip(rows, results, strict=True))
        old[name] = _table(name, rows)
    return f"{before}{BEGIN}\n\n" + "\n".join(old.values()) + f"\n{END}{after}", kept


def _sections(text: str) -> dict[str, str]:
    """Set → its heading and table."""
    found: dict[str, str] = {}
    for part in re.split(r"^(?=### )", text, flags=re.MULTILINE)[1:]:
        found[part.removeprefix("### ").split(":")[0]] = part.strip() + "\n"
    return found


def _kept(result: Result, section: str) -> Result:
    if result.verdict != "skipped":
        return result
    for line in section.splitlines():
        row = _ROW.match(line)
        if row and row["name"] == result.case.name and row["expect"] == _expected(result):
            return replace(result, verdict=row["verdict"], answer=row["answer"])
    return result


def _expected(result: Result) -> str:
    return " / ".join(f"`{item}`" for item in result.case.expect)


def _table(name: str, results: Sequence[Result]) -> str:
    total = totals(results)
    skipped = f", {total['skipped']} skipped" if total["skipped"] else ""
    lines = [
        f"### {name}: {total['right']} of {total['asked']} right, {total['refused']} refused, "
        f"{total['wrong']} silently wrong{skipped}",
        "",
        "| repository or archive | a reader's answer | the detector's | |",
        "| --- | --- | --- | --- |",
    ]
    for result in results:
        answer = result.answer or "skipped"
        lines.append(f"| {result.case.name} | {_expected(result)} | `{answer}` | {result.verdict} |")
    return "\n".join(lines) + "\n"
