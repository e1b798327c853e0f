"""Puts right what the findings say, in the order in which the parts of a stack depend on each other.

First the edge, since everything else is asked through it; then certificates; then each service's pod → app → sidecar: a
container joins its pod's network when it starts, so a pod that was started again takes both others with it. What an
earlier generation left goes last, and only when the one that replaced it serves. Nothing is created here: what is gone
comes back by `iac deploy`, and everything else keeps its id, so that the next plan is empty.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from karst import deliver
from karst import findings as found
from karst.deployed import ROLES
from karst.errors import KarstError
from karst.findings import Finding, Look
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.identity.store import Store

Say = Callable[[str], None]
# How long a member may take to stop. Of one whose network is dead nothing is lost.
GRACE = {"pod": 3, "app": 15, "sidecar": 30, "edge": 10, "keeper": 3}
NOTICE_SECONDS = 3.0


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        action: restart, connect, deliver, update, renew, remove.
        service: "" for the stack's own parts.
        role: of the container, "" for a certificate.
        name: of the container or the identity.
        reason: the finding's sentence.
    """

    action: str
    service: str
    role: str
    name: str
    container: str
    reason: str

    def __str__(self) -> str:
        return f"{self.action} {self.name}: {self.reason}"

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def steps(seen: Look, problems: Sequence[Finding]) -> list[Step]:
    """What to do about ``problems``, in order. What cannot be done in place has no step."""
    by_id = {m.id: m for m in seen.members}

    def step(action: str, one: Finding, identifier: str = "") -> Step:
        member = by_id.get(identifier or one.container)
        name = member.name if member else (one.service or "certificates")
        return Step(action, one.service, member.role if member else "", name, member.id if member else "", one.message)

    def of(fix: str, *, service: str | None = None) -> list[Finding]:
        return [p for p in problems if p.fix == fix and (service is None or p.service == service)]

    shared = (found.CONNECT, found.DELIVER, found.RESTART)
    planned = [step(fix, p) for fix in shared for p in of(fix, service="")]
    if renewals := of(found.RENEW):
        planned.append(step(found.RENEW, renewals[0]))
    for service in sorted({p.service for p in problems if p.service}):
        if any(p.code in ("member_missing", "drift_image") for p in problems if p.service == service):
            continue  # a part of it is gone: what is left is replaced as a whole
        planned += [step(found.CONNECT, p) for p in of(found.CONNECT, service=service)]
        planned += [step(found.DELIVER, p) for p in of(found.DELIVER, service=service)]
        planned += [step(found.UPDATE, p) for p in of(found.UPDATE, service=service)]
        planned += _restarts(seen, service, of(found.RESTART, service=service), step)
    planned += [step(found.UPDATE, p) for p in of(found.UPDATE, service="")]
    return planned + [step(found.REMOVE, p) for p in of(found.REMOVE)]


def _restarts(seen: Look, service: str, wanted: list[Finding], step: Callable[[str, Finding, str], Step]) -> list[Step]:
    """Pod → app → sidecar; a pod's restart brings those of the others along."""
    reasons = {p.container: p for p in wanted}
    planned = []
    for current in seen.current(service):
        pod = reasons.get(current.get("pod", ""))
        for role in ROLES:
            why = reasons.get(current.get(role, "")) or pod
            if why:
                planned.append(step(found.RESTART, why, current[role]))
    return planned


class Healer:
    """Does the steps. ``say`` is given one line for each."""

    def __init__(self, stack: Stack, docker: Any, store: Store, say: Say) -> None:
        self.stack, self.docker, self.store, self.say = stack, docker, store, say
        self.failed: list[tuple[Step, str]] = []

    def do(self, seen: Look, planned: Sequence[Step]) -> list[Step]:
        """Do ``planned``; return what was done, and keep in ``failed`` what was not."""
        shared = [s for s in planned if not s.service or s.action == found.RENEW]
        own = {s.service: [x for x in planned if x.service == s.service and x not in shared] for s in planned}
        done = [s for s in shared if self._try(s, seen)]
        # Services do not depend on each other's restarts; the steps of one do, so each has a thread of its own.
        with ThreadPoolExecutor(max_workers=8) as pool:
            for part in pool.map(lambda name: self._service(own[name], seen), sorted(filter(None, own))):
                done += part
        return done

    def _service(self, planned: list[Step], seen: Look) -> list[Step]:
        done = []
        for step in planned:
            if self._try(step, seen):
                done.append(step)
            elif step.action == found.RESTART:
                break  # what comes after it in the pod could not join its network
        return done

    def _try(self, step: Step, seen: Look) -> bool:
        import docker.errors

        self.say(str(step))
        try:
            getattr(self, f"_{step.action}")(step, seen)
        except (docker.errors.APIError, KarstError) as err:
            words = getattr(err, "explanation", None) or str(err)
            self.failed.append((step, str(words)))
            self.say(f"  that failed: {words}")
            return False
        return True

    # ------------------------------------------------------------------------------------------------ the actions
    def _restart(self, step: Step, seen: Look) -> None:
        member = next(m for m in seen.members if m.id == step.container)
        if member.state == "paused":
            self.docker.api.unpause(step.container)
        alive = member.state == "running" and self._attached(seen, step)
        self.docker.api.restart(step.container, timeout=GRACE[step.role] if alive else 1)

    def _attached(self, seen: Look, step: Step) -> bool:
        """Whether the member can still have requests under way."""
        mine = next(m for m in seen.members if m.id == step.container)
        pod = next((m for m in seen.members if m.id == mine.pod_id), None)
        if step.role in ("pod", "edge") or pod is None:
            return step.role == "edge"
        return pod.state == "running" and found.started(seen, mine) >= found.started(seen, pod)

    def _connect(self, step: Step, _seen: Look) -> None:
        import docker.errors

        api = self.docker.api
        with contextlib.suppress(docker.errors.APIError):  # it may not be connected at all
            api.disconnect_container_from_network(step.container, self.stack.network, force=True)
        aliases = [step.service] if step.service else None  # the edge has no name but its own
        api.connect_container_to_network(step.container, self.stack.network, aliases=aliases)

    def _update(self, step: Step, seen: Look) -> None:
        then = next(r.attributes for r in seen.record or () if r.id == step.container)
        limits: dict[str, Any] = {"restart_policy": {"Name": then.get("restart") or "no"}}
        if then.get("memory"):
            swap = then.get("memory_swap") or then["memory"]
            limits |= {"mem_limit": f"{then['memory']}m", "memswap_limit": f"{swap}m"}
        api = self.docker.api
        api.update_container(step.container, **limits)
        if (seen.inspected[step.container]["HostConfig"].get("PidsLimit") or 0) > 0:  # the client has no word for it
            answer = api._post_json(api._url("/containers/{0}/update", step.container), data={"PidsLimit": -1})
            api._raise_for_status(answer)

    def _deliver(self, step: Step, seen: Look) -> None:
        member = next(m for m in seen.members if m.id == step.container)
        deliver.deliver(self.docker, deliver.parcels([member], self.store.root))

    def _renew(self, _step: Step, seen: Look) -> None:
        from karst.identity.names import Identity

        with self.store.locked():
            known = {one.name: one for one in self.store.known()}
            domain = next((one.uri for one in known.values()), "spiffe://karst.local/").split("/")[2]
            for name in {*seen.services(), "ops/edge", "ops/operator"} - set(known):
                known[name] = Identity.parse(name, network=self.stack.network, trust_domain=domain)
            self.store.ensure(known.values())
        deliver.deliver(self.docker, deliver.parcels(seen.members, self.store.root))
        time.sleep(NOTICE_SECONDS)  # each Envoy sees its folder change by itself

    def _remove(self, step: Step, seen: Look) -> None:
        from karst import gate

        member = next(m for m in seen.members if m.id == step.container)
        if member.role == "sidecar" and member.state == "running":
            gate.drain(self.docker, [member])
        self.docker.api.remove_container(step.container, force=True, v=True)


def removals_last(planned: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """Split into what comes first and what waits until the services serve; sidecars are drained before others go."""
    order = {"sidecar": 0, "app": 1, "pod": 2}
    first = [s for s in planned if s.action != found.REMOVE]
    last = sorted((s for s in planned if s.action == found.REMOVE), key=lambda s: order.get(s.role, 3))
    return first, last
