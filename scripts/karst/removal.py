"""In which parts a large stack is removed.

Of a resource in its state Terraform knows which kinds of resources it came from, not which of them: it ties every gate
to every sidecar, app, pod and image of the stack, and what it does with these ties grows with the cube of their number
(docs/scale.md). Removed kind by kind, what goes last first, there are no ties to look at, and the order is the same.
"""

from __future__ import annotations

import json

from karst.terraform import Outcome, Terraform

LARGE = 400  # instances: below, one more call of Terraform for each kind takes longer than the ties


def remove(terraform: Terraform, text: str) -> Outcome:
    """Remove everything that the text of the state names; the outcome of the last part, or of the first that failed."""
    for part in [*parts(text), []]:
        outcome = terraform.plan(destroy=True, only=part)
        if outcome.exit_code == 2:
            outcome = terraform.apply()
        if not outcome.ok:
            break
    return outcome


def parts(text: str) -> list[list[str]]:
    """Addresses to remove one list after the other, from the text of a state; what is left after them is not large."""
    kinds = [one for one in json.loads(text)["resources"] if one["mode"] == "managed"]
    sizes = {_address(kind): len(kind["instances"]) for kind in kinds}
    origins = {
        _address(kind): {origin for one in kind["instances"] for origin in one.get("dependencies", [])}
        for kind in kinds
    }
    found: list[list[str]] = []
    while sum(sizes.values()) > LARGE:
        last = sorted(kind for kind in sizes if not any(kind in origins[other] for other in sizes if other != kind))
        if not last:
            break
        found.append(last)
        sizes = {kind: size for kind, size in sizes.items() if kind not in last}
    return found


def _address(kind: dict[str, str]) -> str:
    return ".".join(part for part in (kind.get("module", ""), kind["type"], kind["name"]) if part)
