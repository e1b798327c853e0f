"""docs/scale.md's tables, from the results that were kept."""

from __future__ import annotations

from typing import Any

from tests.scale import bounds, results, tables, trials
from tests.support import reports

PAGE = "docs/scale.md"


def write() -> None:
    """Put the tables between the page's markers."""
    created = results.of("create")
    whole = [one for one in created if "taken" in one]
    for part, found, table in (
        ("created", created, _created),
        ("first", whole[-1:], bounds.first),
        ("planned", results.of("plan"), _planned),
        ("order", results.of("order"), trials.ordered),
        ("shortages", results.of("shortage"), trials.shortages),
        ("split", results.of("split"), trials.split),
    ):
        reports.write(PAGE, part, table(found) if found else "Not measured yet: `make scale` does it.")


def _created(found: list[dict[str, Any]]) -> str:
    head = ["", *(f"{one['services']} services" for one in found)]
    rows = [[label, *(tables.seconds(one, step) for one in found)] for step, label in tables.STEPS]
    rows.append(["Terraform and its providers, at most", *(f"{one['terraform_mib']:,} MiB" for one in found)])
    rows.append(["… while all are replaced", *(_replaced(one, "terraform_mib") for one in found)])
    looked = [one if "memory_mib" in one else None for one in found]  # None: it was never there as a whole
    rows.append(["memory that they take", *(f"{one['taken']['memory_mib']:,} MiB" if one else "–" for one in looked)])
    rows.append(["… at most, while all are replaced", *(_replaced(one, "memory_mib") for one in found)])
    rows.append(["state", *(f"{one['bytes']['state'] / 1024:,.0f} KiB" if one else "–" for one in looked)])
    rows.append(["cores in use when idle, containers + engine", *(_idle(one) if one else "–" for one in looked)])
    rows.append(["a name looked up by an app, median / longest", *(_dns(one) if one else "–" for one in looked)])
    whole = [one for one in looked if one]
    sizes = f"{_memory_by_role(whole[-1])} " if whole else ""
    return f"{reports.table(head, rows)}\n\n{sizes}{tables.origin(found)}{_undone(found)}"


def _memory_by_role(one: dict[str, Any]) -> str:
    roles = "; ".join(f"{role} {size:g}" for role, size in one["memory_mib"].items())
    return f"Memory of one container at the median of {one['services']} services, MiB: {roles}."


def _undone(found: list[dict[str, Any]]) -> str:
    """What did not come to its end, and why."""
    failed = [(one["services"], *item) for one in found for item in one.get("failed", {}).items()]
    return "".join(f"\n\n{count} services, {step}: {why}" for count, step, why in failed)


def _replaced(one: dict[str, Any], what: str) -> str:
    return f"{one['replaced'][what]:,} MiB" if "replaced" in one else "–"


def _idle(one: dict[str, Any]) -> str:
    return f"{one['idle_cores']['containers']:.2f} + {one['idle_cores']['engine']:.2f}"


def _dns(one: dict[str, Any]) -> str:
    return f"{one['dns_ms']['median']:g} / {one['dns_ms']['max']:g} ms"


def _planned(found: list[dict[str, Any]]) -> str:
    steps = list(dict.fromkeys(step for one in found for step in one["seconds"]))
    head = ["", *(f"{one['services']} services" for one in found)]
    rows = [[WORDS.get(step, step), *(tables.seconds(one, step) for one in found)] for step in steps]
    for key, label in (("iac plan", "memory of Terraform in `iac plan`"), ("mocked", "… with mocked providers")):
        rows.append([label, *(f"{one['mib'][key]:,} MiB" if key in one["mib"] else "–" for one in found)])
    for key in dict.fromkeys(key for one in found for key in one["bytes"]):
        label = "plan file" if key == "plan file" else f"answer of `{key}`"
        sizes = (one["bytes"].get(key) for one in found)
        rows.append([label, *("–" if size is None else f"{size / 1024:,.0f} KiB" for size in sizes)])
    return f"{reports.table(head, rows)}\n\n{growth(found)}{tables.origin(found)}"


def growth(found: list[dict[str, Any]]) -> str:
    """How Terraform's own share grows with the list, from the smallest and the largest measured; "" for one alone."""
    sizes = [(one["services"], one["processor"]["mocked"]) for one in found if "mocked" in one.get("processor", {})]
    if len(sizes) < 2:
        return ""
    (few, short), (many, long) = sizes[0], sizes[-1]
    return (
        f"The module's plan took {short:g} s of processor time for {few:,} services, {long:g} s for {many:,}: it\n"
        f"grows with their number to the power of {tables.power(*sizes[0], *sizes[-1]):.1f}.\n\n"
    )


WORDS = {
    "iac plan": "`iac plan` of a stack that is not there yet",
    "mocked": "the module planned with mocked providers",
}
