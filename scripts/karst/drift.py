"""What runs against what was applied: every difference that somebody or something made since, in the words of services.

findings.py tells what does not work, or is about to stop. Drift is wider: what works as well, and is not what the last
apply left. Compared is with Terraform's state and the containers' labels. Neither a git host nor the list is asked: a
branch that moved, or an edited list, is no drift but a plan's business.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from karst import containers, leftovers, lockfile
from karst.containers import Member
from karst.deployed import ROLES, Applied
from karst.errors import KarstError
from karst.findings import DEPLOY, ERROR, REFRESH, WARNING, Finding, Look
from karst.plan_reasons import short
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.identity.store import Store

Row = Mapping[str, Any]


def known(seen: Look) -> Look:
    """The look without services that no apply made: those are strangers, and nothing of them is missing."""
    if seen.record is None:
        return seen
    names = {one.service for one in seen.record}
    return dataclasses.replace(seen, members=[m for m in seen.members if m.service in names])


def differences(
    stack: Stack, last: Applied | None, seen: Look, found: Sequence[Finding], store: Store, docker: Any
) -> list[Finding]:
    """All of ``found`` (see findings.diagnose), and what is no fault but is different; the stack's own parts first.

    ``last`` is what was applied last; None where there is no record of it.
    """
    rows = docker.api.containers(all=True, filters={"label": [f"{containers.STACK}={stack.name}"]})
    leftover = {one.container for one in found if one.code == "leftover"}
    every = [*found, *_networks([m for m in seen.members if m.id not in leftover], seen, stack)]
    if last is not None:
        # With a state that others use, too, a young one may be what somebody is deploying from another machine.
        young = time.time() - leftovers.SOMEBODYS_SECONDS if stack.remote_state else float("inf")
        every += _containers([row for row in rows if row["Created"] < young], last, leftover)
        every += _network(stack, last, docker)
        every += _images(last, docker.api.images())
        every += _secrets(last, store)
    if stack.unfinished_file.exists():
        every.append(Finding("unfinished", "", WARNING, "the last apply was cut off before it was done", DEPLOY))
    return sorted(every, key=lambda one: one.service)


def pending(stack: Stack, last: Applied | None) -> list[dict[str, str]]:
    """Services whose lock file has moved on since they were deployed: no drift, and yet not what the file says.

    Each is {service, deployed, locked}, both revisions.
    """
    entries = lockfile.read(lockfile.lock_path(stack.list_file))
    return [
        {"service": name, "deployed": one["revision"], "locked": entries[name].revision}
        for name, one in sorted((last.services if last else {}).items())
        if name in entries and entries[name].slug == one["slug"] and entries[name].revision != one["revision"]
    ]


def waiting(one: Mapping[str, str]) -> str:
    """The sentence for one of those."""
    return (
        f"{one['service']}: the lock file has moved on to {short(one['locked'])}, and {short(one['deployed'])} is "
        "deployed; that is no drift: `iac plan` shows it, `iac deploy` deploys it"
    )


# ------------------------------------------------------------------------------------------------------- what is there
def _containers(rows: Iterable[Row], last: Applied, told: set[str]) -> list[Finding]:
    """Containers with the stack's label that no apply made. ``told``: those that are leftovers of a known service."""
    found = []
    for row in rows:
        if row["Id"] in last.containers or row["Id"] in told:
            continue
        labels, name = row["Labels"], (row.get("Names") or ["/?"])[0].lstrip("/")
        role, service = labels.get(containers.ROLE, ""), labels.get(containers.SERVICE, "")
        whose = f"the labels of `{service}` ({role})" if role and service else "the stack's label"
        text = f"the container `{name}` ({row.get('State', '?')}) has {whose}, and no deploy made it"
        # The next deploy takes away what looks like a pod's member, and nothing else.
        fix = DEPLOY if role in (*ROLES, "edge", "keeper") else ""
        found.append(Finding("unknown_container", "", WARNING, text, fix, row["Id"]))
    return found


def _networks(members: Sequence[Member], seen: Look, stack: Stack) -> list[Finding]:
    """Pods and edge on networks that they were not put on."""
    found = []
    for member in members:
        if member.role not in ("pod", "edge"):
            continue
        others = set(seen.inspected[member.id]["NetworkSettings"]["Networks"]) - {stack.network}
        for other in sorted(others):
            whose = "the edge" if member.role == "edge" else "its pod"
            service = "" if member.role == "edge" else member.service
            text = f"{whose} is on the network `{other}` as well: `docker network disconnect {other} {member.name}`"
            found.append(Finding("other_network", service, WARNING, text, "", member.id))
    return found


def _network(stack: Stack, last: Applied, docker: Any) -> list[Finding]:
    """The network: another one of its name, or somebody on it who is none of the stack."""
    from docker import errors

    try:
        network = docker.api.inspect_network(last.network or stack.network)
    except errors.NotFound:
        there = [one for one in docker.api.networks(names=[stack.network]) if one["Name"] == stack.network]
        if not last.network or not there:  # a missing one is among the findings already
            return []
        text = f"the network `{stack.network}` was removed, and another one of this name was made"
        return [Finding("network_replaced", "", ERROR, text, DEPLOY)]
    found = []
    for identifier, one in sorted((network.get("Containers") or {}).items(), key=lambda pair: str(pair[1]["Name"])):
        if identifier not in last.containers and not _ours(docker, identifier, stack):
            text = f"the container `{one['Name']}` is on the network `{stack.network}`, and none of the stack's"
            found.append(Finding("stranger", "", WARNING, text, "", identifier))
    return found


def _ours(docker: Any, identifier: str, stack: Stack) -> bool:
    from docker import errors

    try:
        labels = docker.api.inspect_container(identifier)["Config"]["Labels"] or {}
    except errors.NotFound:
        return False
    return bool(labels.get(containers.STACK) == stack.name)


# ------------------------------------------------------------------------------------------------ images and secrets
def _images(last: Applied, rows: Iterable[Row]) -> list[Finding]:
    """Images that were removed, or whose tag was given to another one: a rollback or a new pod would miss them."""
    tags = {tag: row["Id"] for row in rows for tag in row.get("RepoTags") or []}
    found = []
    for tag, (identifier, service) in sorted(last.images.items()):
        now = tags.get(tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest")
        if now is None:
            text = f"the image `{tag}` was removed from the host"
            found.append(Finding("image_missing", service, WARNING, text, REFRESH))
        elif identifier and now != identifier:
            # Terraform goes by the tag: it would start the other image in the place of this one.
            text = f"the tag `{tag}` was given to another image: `docker rmi {tag}`, then `iac deploy --refresh`"
            found.append(Finding("image_retagged", service, ERROR, text, ""))
    return found


def _secrets(last: Applied, store: Store) -> list[Finding]:
    """Files of apps' secrets that are no longer what the deploy handed over."""
    from karst.identity.app_secrets import digest

    found = []
    for name, one in sorted(last.services.items()):
        then = (one.get("made_of") or {}).get("secrets")
        try:
            changed = bool(then) and digest(store, name) != then
        except (OSError, KarstError):  # they belong to the apps' user, and this one may not read them
            continue
        if changed:
            text = "the files of its secrets were changed or removed by hand"
            found.append(Finding("secrets_changed", name, ERROR, text, DEPLOY))
    return found
