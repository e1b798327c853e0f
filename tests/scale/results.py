"""What was measured, kept as JSON beside the programs that measured it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.support import reports

FILE = Path(__file__).resolve().parent / "results.json"


def save(result: dict[str, Any]) -> None:
    """Keep a result in the place of an older one of the same name; what that has and this one has not stays."""
    kept = load()
    before = kept.get(result["name"], {})
    merged = {key: before.get(key, {}) | value if isinstance(value, dict) else value for key, value in result.items()}
    stamp = {"measured": time.strftime("%Y-%m-%d", time.gmtime()), "machine": reports.machine()}
    kept[result["name"]] = before | merged | stamp
    ordered = sorted(kept.values(), key=lambda one: (one["name"].split()[0], one["services"]))
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in ordered)
    FILE.write_text(f"[\n{lines}\n]\n")


def load() -> dict[str, dict[str, Any]]:
    """Results by name: `plan 1000`, `create 50`."""
    return {one["name"]: one for one in json.loads(FILE.read_text())} if FILE.exists() else {}


def of(kind: str) -> list[dict[str, Any]]:
    """The results of one kind (``plan``, ``create``), smallest first."""
    return [one for name, one in load().items() if name.split()[0] == kind]
