"""The results that are kept: chaos' own folder, and failures told by the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import results

FOLDER = Path(__file__).resolve().parent / "results"
KEPT_FAILURES = 400  # rows of one scenario; counts by error are complete


def save(part: str, result: dict[str, Any]) -> None:
    """Keep a result of ``part``, in the place of an older one of the same scenario on the same path."""
    if "failures" in result:
        result = {**result, "failures": by_second(result["failures"])[:KEPT_FAILURES]}
    results.save(FOLDER, part, result, key=("name", "path"))


def by_second(failures: list[list[Any]]) -> list[list[Any]]:
    """Rows of lane, second, phase, longest time in ms, error, and how many requests failed just so in that second."""
    rows: dict[tuple[Any, ...], list[Any]] = {}
    for lane, at, phase, took, error in failures:
        row = rows.setdefault((lane, int(at), phase, error), [lane, int(at), phase, took, error, 0])
        row[3] = max(row[3], took)
        row[5] += 1
    return list(rows.values())


def load(part: str) -> dict[str, Any] | None:
    """What was kept of ``part``; None if nothing was."""
    return results.load(FOLDER, part)
