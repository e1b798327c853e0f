"""The tables of what was tried: limits run into, stacks split, everything replaced at once."""

from __future__ import annotations

from typing import Any

from tests.scale import tables
from tests.support import reports


def shortages(found: list[dict[str, Any]]) -> str:
    """What was run into on purpose: a row each, as it was seen."""
    columns = ("limit", "set_to", "broke", "sees", "past", "after")
    head = ["limit", "made scarce", "what broke, and when", "what the user reads", "way past", "after it"]
    return f"{reports.table(head, [[one[key] for key in columns] for one in found])}\n\n{tables.origin(found)}"


def split(found: list[dict[str, Any]]) -> str:
    head = ["", *(_stacks(one) for one in found)]
    rows = [
        [label, *(tables.seconds(one, step) for one in found)]
        for step, label in tables.STEPS
        if step in found[0]["seconds"]
    ]
    rows.append(["Terraform and its providers, at most", *(f"{one['terraform_mib']:,} MiB" for one in found)])
    rows.append(["the largest state", *(f"{one['bytes']['state'] / 1024:,.0f} KiB" for one in found)])
    return f"{reports.table(head, rows)}\n\n{tables.origin(found)}"


def _stacks(one: dict[str, Any]) -> str:
    number = one["services"] // one["stacks"]
    return (
        f"one stack of {number}" if one["stacks"] == 1 else f"{one['stacks']} stacks of {number}, one after the other"
    )


def ordered(found: list[dict[str, Any]]) -> str:
    words = {"make": "all are made", "replace": "all are replaced", "remove": "all are removed"}
    head = ["", *(f"{one['services']} services" for one in found)]
    rows = [
        [
            label,
            *(
                f"{one['processor'][step]:g} s, {one['mib'][step]:,} MiB" if step in one["mib"] else "–"
                for one in found
            ),
        ]
        for step, label in words.items()
    ]
    return f"{reports.table(head, rows)}\n\n{_twice_as_many(found)}{tables.origin(found)}"


def _twice_as_many(found: list[dict[str, Any]]) -> str:
    """What a replacement of twice the largest number would take in one stack, and in stacks of the smallest."""
    sizes = [(one["services"], one["processor"]["replace"]) for one in found if "replace" in one["processor"]]
    if len(sizes) < 2:
        return ""
    (few, short), (many, long) = sizes[0], sizes[-1]
    exponent = tables.power(few, short, many, long)
    stacks = 2 * many // few
    return (
        f"The replacement of all grows with their number to the power of {exponent:.1f}: by that, {2 * many} services\n"
        f"would take {2**exponent * long / 60:.1f} minutes in one stack, and {stacks * short / 60:.1f} in "
        f"{stacks} stacks of {few}.\n\n"
    )
