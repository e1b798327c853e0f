"""What the measuring targets write into the docs: one marked part of a page, and the machine it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support import results

ROOT = Path(__file__).resolve().parents[2]


def write(page: str, part: str, text: str) -> None:
    """Put ``text`` between the page's markers of ``part``; AssertionError when it has none."""
    path = ROOT / page
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    before, found, rest = path.read_text().partition(begin)
    assert found, f"{page} has no {begin}"
    _, found, after = rest.partition(end)
    assert found, f"{page} has no {end}"
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    return ("" if value is None else str(value)).replace("|", "\\|").replace("\n", " ")


def machine() -> str:
    """One sentence: the machine as kept results name it, Python, and how busy it is."""
    return f"{results.machine()}, Python {platform.python_version()}; load before the run {os.getloadavg()[0]:.1f}"
