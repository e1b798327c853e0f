"""Hashes of inputs, and of the programs that read them. Light: a plan without changes imports nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parents[3] / "modules" / "karst_service" / "templates" / "app.Dockerfile.tmpl"


def canonical(value: Any) -> str:
    """One text for equal values."""
    return json.dumps(value, sort_keys=True, default=list)


def digest(*parts: str) -> str:
    """SHA-256 of texts, each with its length before it."""
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape")
        found.update(len(raw).to_bytes(8, "big") + raw)
    return found.hexdigest()


def kit_hash() -> str:
    """Hash of the programs that decide: remembered results are theirs, and only theirs."""
    folder = Path(__file__).resolve().parent
    sources = sorted([*folder.glob("*.py"), *(folder.parent / "deps").glob("*.py")])
    return digest(*(path.read_text(encoding="utf-8") for path in [*sources, TEMPLATE]))
