"""What was measured, kept as JSON beside the programs that measured it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import reports

FILE = Path(__file__).resolve().parent / "results.json"


def stamp() -> dict[str, str]:
    """When and on which machine; taken before a measurement, it tells the load that there was without it."""
    return {"measured": time.strftime("%Y-%m-%d", time.gmtime()), "machine": reports.machine()}


def save(result: dict[str, Any]) -> None:
    """Keep a result in the place of an older one of the same name. Of a plan, what only the older one has stays: its
    parts are measured one by one.
    """
    with _locked():
        _put(result)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Two measurements may end at the same time."""
    folder = os.open(FILE.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _put(result: dict[str, Any]) -> None:
    kept = load()
    before = kept.get(result["name"], {}) if result["name"].startswith("plan ") else {}
    merged = {key: before.get(key, {}) | value if isinstance(value, dict) else value for key, value in result.items()}
    kept[result["name"]] = before | stamp() | merged
    ordered = sorted(kept.values(), key=lambda one: (one["name"].split()[0], one["services"]))
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in ordered)
    FILE.write_text(f"[\n{lines}\n]\n")


def load() -> dict[str, dict[str, Any]]:
    """Results by name: `plan 1000`, `create 50`."""
    return {one["name"]: one for one in json.loads(FILE.read_text())} if FILE.exists() else {}


def of(kind: str) -> list[dict[str, Any]]:
    """The results of one kind (``plan``, ``create``), smallest first."""
    return [one for name, one in load().items() if name.split()[0] == kind]
