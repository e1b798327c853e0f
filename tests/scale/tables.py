"""What the tables of docs/scale.md have in common."""

from __future__ import annotations

from math import log
from typing import Any

STEPS = (
    ("deploy", "first deploy"),
    ("deploy: images", "… of which images"),
    ("deploy of one change", "deploy of one changed service"),
    ("deploy of all changed", "deploy of all of them changed"),
    ("deploy of no change", "deploy with nothing to do"),
    ("plan of no change", "`iac plan` with nothing to do"),
    ("health", "`iac health`"),
    ("drift", "`iac drift`"),
    ("destroy", "`iac destroy`"),
)


def seconds(one: dict[str, Any], step: str) -> str:
    if step in one.get("given_up", {}):
        given = one["given_up"][step]
        return f"given up after {given:,.0f} s" if given else "no time left"
    return (
        "failed"
        if step in one.get("failed", {})
        else f"{one['seconds'][step]:,.1f} s" if step in one["seconds"] else "–"
    )


def origin(found: list[dict[str, Any]]) -> str:
    """When and where, with the load that the machine had before."""
    machines = dict.fromkeys(one["machine"].partition("; load")[0] for one in found)
    loads = [one["machine"].rpartition(" ")[2] for one in found]
    days = sorted({one["measured"] for one in found})
    return f"Measured on {', '.join(days)}: {'; '.join(machines)}. Load before each: {', '.join(loads)}."


def power(few: int, short: float, many: int, long: float) -> float:
    """The power of the number that a time grows with."""
    return log(long / short) / log(many / few)
