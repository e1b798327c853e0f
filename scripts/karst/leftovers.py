"""What an interrupted or killed Terraform left behind: containers and networks with the stack's label, in no state.

Such a pod is on the network under its service's name and can get requests. It is drained, then removed; what the state
knows is never touched: Terraform replaces and removes that in its own order.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from karst import containers
from karst.containers import Member
from karst.errors import KarstError

_STOP_SECONDS = 40  # longer than the longest drain of a sidecar at its default
_SKEW = 2.0
#: With a state that others can use, too, what no state knows may be what somebody is deploying from another machine:
#: the longest gate takes an hour.
SOMEBODYS_SECONDS = 2 * 3600


def recorded(state_file: Path) -> dict[str, set[str]]:
    """Ids by resource type (``docker_container``, ``docker_network``) in the state, objects to be removed included."""
    found: dict[str, set[str]] = {}
    for kind, identifier, _ in _instances(state_file):
        found.setdefault(kind, set()).add(identifier)
    return found


def deposed(state_file: Path) -> set[str]:
    """Ids of the containers that Terraform has replaced and not yet removed."""
    return {identifier for kind, identifier, old in _instances(state_file) if old and kind == "docker_container"}


def _instances(state_file: Path) -> list[tuple[str, str, bool]]:
    """(resource type, id, whether it is only there to be removed) of every object in the state."""
    try:
        text = state_file.read_text()
        state = json.loads(text) if text.strip() else {}  # Terraform makes an empty one first, to lock it
        return [
            (resource["type"], str((one.get("attributes") or {}).get("id") or ""), bool(one.get("deposed")))
            for resource in state.get("resources", [])
            for one in resource.get("instances", [])
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        raise KarstError(
            f"the state {state_file} cannot be read ({type(err).__name__}), so nothing was removed",
            hint="restore it from its backup beside it, or run `iac destroy`",
            code="bad_state",
        ) from err


def unrecorded(members: Sequence[Member], known: dict[str, set[str]], before: float = float("inf")) -> list[Member]:
    """Containers of the stack that the state does not know.

    A running one counts when its pod is on the stack's own network: a stack of the same name that another state
    describes is somebody else's. What was made at ``before`` (epoch) or later does not count.
    """
    ids, networks = known.get("docker_container", set()), known.get("docker_network", set())
    pods = {member.id: member for member in members}

    def ours(member: Member) -> bool:
        pod = pods.get(member.pod_id, member)
        return not pod.networks or bool(networks & set(pod.networks))

    return [m for m in members if m.id not in ids and m.created < before and (m.state != "running" or ours(m))]


def sweep(docker: Any, stack: str, state_file: Path, before: float = float("inf")) -> list[str]:
    """After a successful apply: remove what the state does not know; return a word on each pod, for the log."""
    return remove(docker, unrecorded(containers.members(docker, stack), recorded(state_file), before))


def clear_the_way(docker: Any, stack: str, state_file: Path, since: float) -> list[str]:
    """After a Terraform that was killed: remove what it made since ``since`` (epoch) that its successor would run into.

    That is the edge and the network, which have fixed names, and everything on a network that no state knows.
    """
    known = recorded(state_file)
    members = [m for m in containers.members(docker, stack) if m.created >= since - _SKEW]
    fresh = [m for m in members if m.id not in known.get("docker_container", set())]
    rows = docker.api.networks(filters={"label": [f"{containers.STACK}={stack}"]})
    lost = {row["Id"] for row in rows if row["Id"] not in known.get("docker_network", set())}
    pods = {m.id for m in fresh if lost & set(m.networks)}
    told = remove(docker, [m for m in fresh if m.role == "edge" or m.pod_id in pods])
    for network in lost:
        row = docker.api.inspect_network(network)
        made = datetime.fromisoformat(row["Created"][:19]).replace(tzinfo=UTC).timestamp()
        if made >= since - _SKEW and not row.get("Containers"):
            docker.api.remove_network(network)
            told.append("the network")
    return told


def remove(docker: Any, members: Sequence[Member]) -> list[str]:
    """Drain and remove containers, pod by pod: sidecar, then app, then pod; return a word on each pod."""
    order = {"sidecar": 0, "edge": 0, "app": 1, "pod": 2}
    pods: dict[str, list[Member]] = {}
    for member in members:
        pods.setdefault(member.pod_id, []).append(member)

    def one(found: list[Member]) -> str:
        for member in sorted(found, key=lambda m: order.get(m.role, 1)):
            _remove(docker, member)
        return f"{found[0].service} ({', '.join(sorted(m.role for m in found))})"

    if not pods:
        return []
    with ThreadPoolExecutor(max_workers=8) as pool:
        return sorted(pool.map(one, pods.values()))


def _remove(docker: Any, member: Member) -> None:
    import docker.errors as errors

    with contextlib.suppress(errors.NotFound):
        if member.role == "sidecar" and member.state == "running":
            # It drains on SIGTERM: callers see it leave before its requests would fail.
            docker.api.stop(member.id, timeout=_STOP_SECONDS)
        docker.api.remove_container(member.id, force=True, v=True)
