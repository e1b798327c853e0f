"""What Terraform recorded of a stack's containers, read from its state: ids, generations, and what is deposed.

Only what names and describes containers is looked at. A stack whose state cannot be had (a root of your own, a backend
that does not answer) has no record here; then the labels of the containers have to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from karst.errors import KarstError
from karst.replicas import number_of, service_of
from karst.stack import Stack
from karst.state import pull

ROLES = ("pod", "app", "sidecar")


@dataclass(frozen=True)
class Recorded:
    """One container in the state.

    Attributes:
        service, role: whose and which; ``edge`` for both of the edge.
        number: which of the service's pods, from 1.
        deposed: replaced already, and to be removed by the next apply.
        attributes: the provider's, as they were at the last apply.
    """

    id: str
    service: str
    role: str
    deposed: bool
    attributes: dict[str, Any]
    number: int = 1


def recorded(stack: Stack) -> list[Recorded] | None:
    """The containers of the stack's state; None when there is no state here that could be read."""
    try:
        state = json.loads(pull(stack))
    except (OSError, ValueError, KarstError):
        return None
    if not isinstance(state, dict) or state.get("version") != 4:
        return None
    found = []
    for resource in state.get("resources", []):
        name = resource.get("name", "")
        if resource.get("type") != "docker_container" or name not in (*ROLES, "edge"):
            continue
        for instance in resource.get("instances", []):
            attributes = instance.get("attributes") or {}
            key = str(instance.get("index_key") or "edge")
            found.append(
                Recorded(
                    id=str(attributes.get("id", "")),
                    service=service_of(key),
                    role=name,
                    deposed=bool(instance.get("deposed")),
                    attributes=attributes,
                    number=number_of(key),
                )
            )
    return found
