"""What Terraform recorded of a stack's containers, read from its state: ids, generations, and what is deposed.

Only what names and describes containers is looked at. A stack whose state cannot be had (a root of your own, a backend
that does not answer) has no record here; then the labels of the containers have to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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


@dataclass(frozen=True)
class Applied:
    """What the last apply left, beside the containers' own details.

    Attributes:
        containers: ids of all containers, those still to be removed included.
        network: id of the stack's network, "" when there is none in the state.
        images: tag → (id, service; "" for an image that all share).
        services: the module's output `services`: revision, slug, `made_of` …
    """

    containers: frozenset[str]
    network: str
    images: dict[str, tuple[str, str]]
    services: dict[str, dict[str, Any]]


def recorded(stack: Stack) -> list[Recorded] | None:
    """The containers of the stack's state; None when there is no state here that could be read."""
    try:
        state = _state(stack)
    except (OSError, KarstError):
        return None
    if state is None:
        return None
    return [
        Recorded(
            id=str(attributes.get("id", "")),
            service=service_of(key or "edge"),
            role=name,
            deposed=deposed,
            attributes=attributes,
            number=number_of(key),
        )
        for kind, name, key, deposed, attributes in _instances(state)
        if kind == "docker_container" and name in (*ROLES, "edge")
    ]


def applied(stack: Stack) -> Applied | None:
    """The rest of it; None where nothing was deployed yet. KarstError when the state cannot be had or understood."""
    state = _state(stack)
    if state is None:
        return None
    containers, network, images = set(), "", {}
    for kind, _, key, deposed, attributes in _instances(state):
        if kind == "docker_container":
            containers.add(str(attributes.get("id", "")))
        elif kind == "docker_network" and not deposed:
            network = str(attributes.get("id", ""))
        elif kind == "docker_image" and not deposed and attributes.get("name"):
            service = "" if attributes["name"].startswith("karstkit/") else key
            images[str(attributes["name"])] = (str(attributes.get("image_id") or ""), service)
    services = ((state.get("outputs") or {}).get("services") or {}).get("value") or {}
    return Applied(frozenset(containers), network, images, services)


def _state(stack: Stack) -> dict[str, Any] | None:
    text = pull(stack)
    try:
        state = json.loads(text) if text.strip() else None  # Terraform makes an empty one first, to lock it
    except ValueError:
        state = {}
    if state is not None and (not isinstance(state, dict) or state.get("version") != 4):
        raise KarstError(f"the state of stack `{stack.name}` cannot be read: it is no state", code="bad_state")
    return state


def _instances(state: dict[str, Any]) -> Iterator[tuple[str, str, str, bool, dict[str, Any]]]:
    """(type, name, key, whether it is only there to be removed, attributes) of every managed object in the state."""
    for resource in state.get("resources", []):
        if resource.get("mode", "managed") == "managed":
            for one in resource.get("instances", []):
                key, deposed = str(one.get("index_key") or ""), bool(one.get("deposed"))
                yield resource.get("type", ""), resource.get("name", ""), key, deposed, one.get("attributes") or {}
