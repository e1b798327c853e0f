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
        address: Terraform's.
    """

    id: str
    service: str
    role: str
    deposed: bool
    attributes: dict[str, Any]
    number: int = 1
    address: str = ""


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
    # The provider reads some numbers of `cpus` back otherwise than they were given (pods.tf), and the next apply writes
    # that into the state.
    given = {name: (one.get("made_of") or {}).get("cpus") for name, one in _services(state).items()}
    return [
        Recorded(
            id=str(attributes.get("id", "")),
            service=service_of(key or "edge"),
            role=name,
            deposed=deposed,
            attributes=_with_cpus(attributes, given.get(service_of(key)) if name == "app" else None),
            number=number_of(key),
            address=address,
        )
        for kind, name, key, deposed, attributes, address in _instances(state)
        if kind == "docker_container" and name in (*ROLES, "edge")
    ]


def applied(stack: Stack) -> Applied | None:
    """The rest of it; None where nothing was deployed yet. KarstError when the state cannot be had or understood."""
    state = _state(stack)
    if state is None:
        return None
    containers, network, images = set(), "", {}
    for kind, _, key, deposed, attributes, _ in _instances(state):
        if kind == "docker_container":
            containers.add(str(attributes.get("id", "")))
        elif kind == "docker_network" and not deposed:
            network = str(attributes.get("id", ""))
        elif kind == "docker_image" and not deposed and attributes.get("name"):
            service = "" if attributes["name"].startswith("karstkit/") else key
            images[str(attributes["name"])] = (str(attributes.get("image_id") or ""), service)
    return Applied(frozenset(containers), network, images, _services(state))


def _services(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The module's output of that name."""
    return ((state.get("outputs") or {}).get("services") or {}).get("value") or {}


def _with_cpus(attributes: dict[str, Any], given: str | None) -> dict[str, Any]:
    return attributes if given is None else {**attributes, "cpus": given}


def _state(stack: Stack) -> dict[str, Any] | None:
    text = pull(stack)
    try:
        state = json.loads(text) if text.strip() else None  # Terraform makes an empty one first, to lock it
    except ValueError:
        state = {}
    if state is not None and (not isinstance(state, dict) or state.get("version") != 4):
        raise KarstError(f"the state of stack `{stack.name}` cannot be read: it is no state", code="bad_state")
    return state


def _instances(state: dict[str, Any]) -> Iterator[tuple[str, str, str, bool, dict[str, Any], str]]:
    """Type, name, key, whether it is only there to be removed, attributes and address of every managed object."""
    for resource in state.get("resources", []):
        if resource.get("mode", "managed") == "managed":
            kind, name = resource.get("type", ""), resource.get("name", "")
            whole = ".".join(filter(None, (resource.get("module"), kind, name)))
            for one in resource.get("instances", []):
                index, deposed = one.get("index_key"), bool(one.get("deposed"))
                address = whole if index is None else f"{whole}[{json.dumps(index)}]"
                yield kind, name, str(index or ""), deposed, one.get("attributes") or {}, address
