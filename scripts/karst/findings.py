"""What is wrong with a stack that Docker itself does not show, and what would put it right.

Docker calls a container "running" whose network has died with another container, or that was never told of a new
certificate. So members are compared with each other (who started before whom), with what Terraform recorded, and with
the certificates in the secrets folder; the services themselves are asked elsewhere (health.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karst import containers, doors, leftovers, limits
from karst.containers import Member
from karst.deployed import ROLES, Recorded, recorded
from karst.errors import KarstError
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.identity.store import Store

ERROR, WARNING = "error", "warning"
#: What `iac heal` does about it; "deploy", "refresh" (a deploy that plans in any case) and "" are what it cannot do.
RESTART, CONNECT, UPDATE, RENEW, REMOVE, DEPLOY = "restart", "connect", "update", "renew", "remove", "deploy"
DELIVER, REFRESH = "deliver", "refresh"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        code: a stable word (docs/operations.md lists them).
        service: whose; "" for the stack's own parts.
        severity: ``error`` (something does not work, or is about to) or ``warning``.
        message: one sentence.
        fix: restart, connect, deliver, update, renew or remove, by `iac heal`; deploy; refresh (`iac deploy --refresh`,
            where a plain one would not see it); "" for what only people can do.
        container: full id of the container concerned, or "".
    """

    code: str
    service: str
    severity: str
    message: str
    fix: str
    container: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Look:
    """All that the findings are made of, read once.

    Attributes:
        members: the stack's containers, newest first.
        inspected: Docker's `inspect` by container id.
        record: what Terraform recorded; None when its state is not here.
        network: whether the stack's network exists.
        lacking: ids of the containers that do not hold the keys that were to be delivered to them.
    """

    members: list[Member]
    inspected: dict[str, dict[str, Any]]
    record: list[Recorded] | None
    network: bool
    lacking: frozenset[str] = frozenset()

    def services(self) -> list[str]:
        """Every service that has containers or should have some."""
        names = {m.service for m in self.members if m.role in ROLES}
        return sorted(names | {r.service for r in self.record or () if r.role in ROLES and not r.deposed})

    def current(self, service: str) -> list[dict[str, str]]:
        """Role → id of each pod that was deployed last, whether its containers still exist or not."""
        if self.record is not None:
            found: dict[int, dict[str, str]] = {}
            for one in self.record:
                if one.service == service and one.role in ROLES and not one.deposed:
                    found.setdefault(one.number, {})[one.role] = one.id
            return [found[number] for number in sorted(found)]
        own = [m for m in self.members if m.service == service]
        pods = [m for m in own if m.role == "pod"]
        newest = [m.id for m in reversed(pods) if m.generation == pods[0].generation]
        return [{m.role: m.id for m in reversed(own) if m.pod_id == pod} for pod in newest]


def look(stack: Stack, docker: Any) -> Look:
    """Read members, their details, and the record."""
    members = containers.deployed(containers.members(docker, stack.name))
    inspected = containers.details(docker, [m.id for m in members])
    networks = docker.api.networks(names=[stack.network])
    return Look(
        [m for m in members if m.id in inspected],
        inspected,
        recorded(stack),
        any(one["Name"] == stack.network for one in networks),
        _lacking(docker, members, stack.secrets_dir),
    )


def _lacking(docker: Any, members: Sequence[Member], secrets_dir: Path) -> frozenset[str]:
    from karst import deliver

    try:
        return frozenset(p.container for p in deliver.missing(docker, deliver.parcels(members, secrets_dir)))
    except KarstError:  # that a file is missing here is told with the certificates
        return frozenset()


def diagnose(stack: Stack, seen: Look, store: Store, names: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong: the stack's own parts first, then service by service (of ``names``, or of all).

    ``store`` is the stack's secrets folder, made just now: it compares certificates with the time it was made at.
    """
    found = _shared(stack, seen)
    for service in names or seen.services():
        found += _service(stack, seen, service)
    certain = {f.service for f in found if f.severity == ERROR}
    return found + _certificates(stack, seen, store, set(names), certain)


# --------------------------------------------------------------------------------------------------- network and edge
def _shared(stack: Stack, seen: Look) -> list[Finding]:
    if not seen.members and not seen.record:
        return []
    if not seen.network:
        text = f"the network `{stack.network}` does not exist, so that no pod can start again"
        return [Finding("network_missing", "", ERROR, text, DEPLOY)]
    keeper = next((m for m in seen.members if m.role == "keeper"), None)
    if keeper is not None and keeper.state != "running":
        text = f"the keeper of the edge's key is {_state(seen, keeper)}"
        return [Finding("edge_down", "", ERROR, text, RESTART, keeper.id)]
    if keeper is not None and keeper.id in seen.lacking:
        text = f"the edge does not hold the key that {stack.secrets_dir} has for it: its host was started again"
        return [Finding("keys_missing", "", ERROR, text, DELIVER, keeper.id)]
    edge = next((m for m in seen.members if m.role == "edge"), None)
    if edge is None:
        if seen.record is None:  # a root of one's own may do without
            return []
        return [Finding("edge_missing", "", ERROR, "the edge's container is gone: nothing on the host can ask", DEPLOY)]
    if edge.state != "running":
        return [Finding("edge_down", "", ERROR, f"the edge is {_state(seen, edge)}", RESTART, edge.id)]
    if stack.network not in seen.inspected[edge.id]["NetworkSettings"]["Networks"]:
        text = f"the edge is not on the network `{stack.network}`"
        return [Finding("edge_detached", "", ERROR, text, CONNECT, edge.id)]
    if not doors.listens(stack.edge):
        text = f"the edge runs, and nothing listens at {stack.edge[0]}:{stack.edge[1]}"
        return [Finding("edge_down", "", ERROR, text, RESTART, edge.id)]
    return _drift(seen, edge, "edge")


# --------------------------------------------------------------------------------------------------------- one service
def _service(stack: Stack, seen: Look, service: str) -> list[Finding]:
    by_id = {m.id: m for m in seen.members}
    current = seen.current(service)
    found: list[Finding] = []
    for number, ids in enumerate(current or [{}], 1):
        which = f" (pod {number})" if len(current) > 1 else ""
        pod = by_id.get(ids.get("pod", ""))
        for role in ROLES:
            member = by_id.get(ids.get(role, ""))
            if member is None:
                text = f"its {role} container{which} is gone" if ids else "nothing of it runs"
                found.append(Finding("member_missing", service, ERROR, text, DEPLOY))
            else:
                found += _member(stack, seen, f"{role}{which}", member, pod)
        if pod is not None and pod.id in seen.lacking:
            text = (
                f"its pod{which} does not hold the keys that {stack.secrets_dir} has for it: its host was started again"
            )
            found.append(Finding("keys_missing", service, ERROR, text, DELIVER, pod.id))
    keep = {identifier for ids in current for identifier in ids.values()}
    young = time.time() - leftovers.SOMEBODYS_SECONDS if stack.remote_state else float("inf")
    for member in seen.members:
        if member.service == service and member.role in ROLES and member.id not in keep and member.created < young:
            text = f"{member.name} ({member.state}) is left of another generation"
            found.append(Finding("leftover", service, WARNING, text, REMOVE, member.id))
    return found


def _member(stack: Stack, seen: Look, what: str, member: Member, pod: Member | None) -> list[Finding]:
    """What is wrong with one member of a pod; ``what`` is the word for it."""
    service = member.service
    if member.state != "running":
        code = "member_restarting" if member.state == "restarting" else "member_stopped"
        return [Finding(code, service, ERROR, f"its {what} is {_state(seen, member)}", RESTART, member.id)]
    if member.role == "pod":
        networks = seen.inspected[member.id]["NetworkSettings"]["Networks"]
        mine = networks.get(stack.network)
        if mine is None or service not in (mine.get("Aliases") or []):
            text = f"its {what} is not on the network `{stack.network}` under its name"
            return [Finding("detached", service, ERROR, text, CONNECT, member.id)]
    elif pod is not None and (pod.state != "running" or started(seen, member) < started(seen, pod)):
        text = f"its {what} only looks as if it ran: its network died with the pod's container"
        return [Finding("orphaned", service, ERROR, text, RESTART, member.id)]
    return _drift(seen, member, service)


def _drift(seen: Look, member: Member, service: str) -> list[Finding]:
    """What somebody changed by hand since the last apply."""
    recorded_as = next((r for r in seen.record or () if r.id == member.id), None)
    if recorded_as is None:
        return []
    now, then = seen.inspected[member.id], recorded_as.attributes
    service, found = service if service != "edge" else "", []
    for changed, fix in ((limits.in_place, UPDATE), (limits.by_deploy, REFRESH)):
        if words := changed(then, now["HostConfig"]):
            text = f"its {member.role} was changed by hand: {', '.join(words)}"
            found.append(Finding("drift", service, WARNING, text, fix, member.id))
    if then.get("image") and then["image"] != now.get("Image"):
        text = f"its {member.role} runs another image than was deployed"
        found.append(Finding("drift_image", service, ERROR, text, DEPLOY, member.id))
    return found


# -------------------------------------------------------------------------------------------------------- certificates
def _certificates(stack: Stack, seen: Look, store: Store, names: set[str], broken: set[str]) -> list[Finding]:
    from karst.identity import inventory, served

    if not seen.members:
        return []
    running = [m for m in seen.members if m.state == "running"]
    pods = {m.pod_id for m in running if m.role == "sidecar"}
    asked = [m for m in running if m.role == "edge" or (m.role == "pod" and m.id in pods)]
    # Of what is known to be broken there would be no answer but a timeout.
    asked = [m for m in asked if "" not in broken and m.service not in broken and (not names or m.service in names)]
    try:
        known = inventory.identities(store)
        rows = inventory.rows(store, known, served.ask(stack, asked, known))
    except KarstError as err:
        return [Finding("no_identities", "", ERROR, err.message, DEPLOY)]
    found = []
    for name in sorted({m.service for m in asked} - {"edge"} - {identity.name for identity in known}):
        text = f"there is no certificate of `{name}` in {stack.secrets_dir}"
        found.append(Finding("certificate_missing", name, ERROR, text, RENEW))
    for row in rows:
        service = "" if row.name == "ca" or row.name.startswith("ops/") else row.name
        if names and service and service not in names:
            continue
        whose = "a certificate of the authority" if row.name == "ca" else f"the certificate of `{row.name}`"
        fix = "" if row.name == "ca" else RENEW
        if row.seconds_left <= 0:
            text = f"{whose} expired at {row.not_after}"
            found.append(Finding("certificate_expired", service, ERROR, text, fix))
        elif row.due:
            text = f"{whose} is due ({row.due}); it ends at {row.not_after}"
            found.append(Finding("certificate_due", service, WARNING, text, fix))
        if row.served == "no":
            carrier = _carrier(seen, service, row.note)
            text = f"{row.note}, not the one in {stack.secrets_dir}"
            found.append(Finding("other_certificate", service, ERROR, text, RESTART, carrier.id if carrier else ""))
    return found


def _carrier(seen: Look, service: str, note: str) -> Member | None:
    """The running Envoy that the note is about: it begins with the name of the container that is on the network."""
    if not service:
        return next((m for m in seen.members if m.role == "edge" and m.state == "running"), None)
    names = {m.id: m.name for m in seen.members}
    sidecars = {pod["sidecar"]: pod.get("pod", "") for pod in seen.current(service) if "sidecar" in pod}
    running = [m for m in seen.members if m.id in sidecars and m.state == "running"]
    told = (m for m in running if note.startswith(f"{names.get(sidecars[m.id])} "))
    return next(told, running[0] if running else None)


def weigh(problems: Sequence[Finding], serves: Callable[[str], bool]) -> list[Finding]:
    """What is left of an older generation is no leftover while the newest one does not serve: it may be all there is.

    ``serves`` says whether a service's newest generation is healthy; it is asked about those with leftovers only.
    """
    newest = {name: serves(name) for name in {p.service for p in problems if p.code == "leftover"}}
    weighed = [p for p in problems if p.code != "leftover" or newest[p.service]]
    text = "the generation that was deployed last does not serve; what was left of an older one is kept"
    return weighed + [
        Finding("older_serves", name, WARNING, text, DEPLOY) for name, well in sorted(newest.items()) if not well
    ]


# ------------------------------------------------------------------------------------------------------------- details
def started(seen: Look, member: Member) -> str:
    """RFC 3339 in UTC with nine digits: comparable as text."""
    text = str(seen.inspected[member.id]["State"]["StartedAt"]).rstrip("Z")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<9}"


def _state(seen: Look, member: Member) -> str:
    state = seen.inspected[member.id]["State"]
    why = f": {state['Error']}" if state.get("Error") else f" (exit code {state.get('ExitCode', 0)})"
    return f"{member.state}{'' if member.state in ('created', 'paused') else why}"
