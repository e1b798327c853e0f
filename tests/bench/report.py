"""docs/benchmarks.md's tables and the pictures in it, from the results that were kept."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tests.bench import PARTS
from tests.support import reports, results

FOLDER = Path(__file__).resolve().parent / "results"
PAGE = "docs/benchmarks.md"
IMAGES = reports.ROOT / "docs" / "images"


def module(part: str) -> Any:
    """The part's own module."""
    return importlib.import_module(f"tests.bench.{part}")


def forget(part: str) -> None:
    """A new run of the whole part begins."""
    (FOLDER / f"{part}.json").unlink(missing_ok=True)


def keep(part: str, result: dict[str, Any]) -> None:
    results.save(FOLDER, part, result)


def write() -> None:
    """Put every part's tables between its markers, and its pictures into docs/images."""
    for part in PARTS:
        kept = results.load(FOLDER, part)
        text = "Not measured yet: `make bench` does it."
        if kept:
            text = f"Measured on {kept['measured']}: {kept['machine']}.\n\n{module(part).tables(kept['results'])}"
            for name, picture in module(part).pictures(kept["results"]).items():
                (IMAGES / name).write_text(picture)
        reports.write(PAGE, part, text)
