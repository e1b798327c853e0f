"""The gate: the last link of a service's deploy, and the switch between two generations of it.

It asks each new pod HealthCheck over mTLS, by the pod's own name, until all of them are SERVING. Then it drains the
older pods of that service, so that at no time fewer pods serve than are wanted. When one does not get there, the new
generation is taken out of rotation, so that the old one keeps serving alone, and the gate fails with the reason and the
app's last lines.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karst import containers, dial, exhausted
from karst.doors import Door
from karst.engine_list import labelled
from karst.errors import KarstError, UnhealthyError, UsageError

if TYPE_CHECKING:
    from karst.probe import Health

POLL_SECONDS = 0.1
POLL_SECONDS_ELSEWHERE = 0.5  # each question there starts a process in the edge
#: How often the engine is asked whether it keeps starting the app again, and from how many starts on it is given up.
LOOK_SECONDS = 1.0
TRIES = 3
#: How long a pod may not be let through until it is put back into rotation: an earlier gate may have refused it.
BACK_SECONDS = 3.0
LOG_LINES = 15


@dataclass(frozen=True)
class Pod:
    """One of the new pods.

    Attributes:
        id: id of its container.
        name: name of its container, which is also its name on the network.
        address: where to ask: the edge, or the pod itself where there is no edge.
    """

    id: str
    name: str
    address: Door


@dataclass(frozen=True)
class Gate:
    """What the gate is asked to let through.

    Attributes:
        service, stack: names.
        pods: all pods that the service is to have.
        secrets_dir: folder with the operator's identity.
        timeout: seconds until every one of the pods must be SERVING.
        log_dir: where the logs of generations that go are kept; None keeps none.
        own_image: the app's image is the repository's own and has no runner: the engine starts it again, and knows how
            it ended.
    """

    service: str
    stack: str
    pods: tuple[Pod, ...]
    secrets_dir: Path
    trust_domain: str
    timeout: float
    log_dir: Path | None = None
    own_image: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Gate:
        """Read the values that Terraform hands over by environment, never by a command line."""
        try:
            return cls(
                service=env["KARST_SERVICE"],
                stack=env["KARST_STACK"],
                pods=_pods(json.loads(env["KARST_PODS"]), env["KARST_STACK"], env.get("KARST_EDGE", "")),
                secrets_dir=Path(env["KARST_SECRETS_DIR"]),
                trust_domain=env.get("KARST_TRUST_DOMAIN", "karst.local"),
                timeout=float(env.get("KARST_GATE_TIMEOUT", "60")),
                log_dir=Path(env["KARST_LOG_DIR"]) if env.get("KARST_LOG_DIR") else None,
                own_image=bool(env.get("KARST_OWN_IMAGE")),
            )
        except (KeyError, ValueError, TypeError) as err:
            raise UsageError(
                f"the gate needs {err} in its environment",
                hint="modules/karst_service/pods.tf runs it; to ask by hand use scripts/health",
            ) from err

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(pod.id for pod in self.pods)


def main() -> int:
    """Run the gate from the environment; raise UnhealthyError when the new generation may not take over."""
    gate = Gate.from_env(os.environ)
    counts = exhausted.counts()
    answers = wait(gate)
    refused = [pod for pod in gate.pods if not answers[pod.id].healthy]
    if not refused:
        drained = drain_older(gate)
        after = f", drained {drained} older" if drained else ""
        number = f" in {len(gate.pods)} pods" if len(gate.pods) > 1 else ""
        newest = answers[gate.pods[-1].id]
        print(f"{gate.service}: {newest.status}{number} at {newest.revision[:12]}{after}", file=sys.stderr)
        return 0
    with containers.engine() as docker:
        lines = last_words(gate, docker, refused[0])
        found = containers.members(docker, gate.stack, gate.service)
        gone = to_withdraw(gate, found, refused)
        for pod in refused:
            keep_logs(gate, docker, [m for m in found if m.pod_id == pod.id], answers[pod.id])
        drain(docker, [m for m in found if m.pod_id in gone], settle=0)
    from karst.crash_errors import explain_crash

    log = "\n".join(lines)
    known = explain_crash(log, own_image=gate.own_image) or exhausted.told(log) or exhausted.since(counts)
    health = answers[refused[0].id]
    which = f" ({len(refused)} of its {len(gate.pods)} pods, {refused[0].name})" if len(gate.pods) > 1 else ""
    what = f"{gate.service} is not healthy{which}: {health.status}, {health.reason or 'no reason given'}"
    raise UnhealthyError(
        "\n".join([what, *([known.message] if known else []), *lines]),
        hint=(f"{known.hint}; " if known and known.hint else "")
        + f"the generation that served before still serves, if there was one; `iac logs -s {gate.service}` has more",
        code="unhealthy",
    )


def wait(gate: Gate) -> dict[str, Health]:
    """Ask each pod until it is healthy and in rotation, has FAILED, or the time is up: pod id → last answer."""
    deadline = time.monotonic() + gate.timeout
    with ThreadPoolExecutor(max_workers=len(gate.pods)) as pool:
        answers = pool.map(lambda pod: _wait(gate, pod, deadline), gate.pods)
        return dict(zip((p.id for p in gate.pods), answers, strict=True))


def _wait(gate: Gate, pod: Pod, deadline: float) -> Health:
    from karst.probe import probe, ready

    look_at = time.monotonic() + LOOK_SECONDS if gate.own_image else float("inf")
    back_at = time.monotonic() + BACK_SECONDS
    where: dict[str, Any] = {
        "sni": pod.name,
        "address": pod.address,
        "secrets_dir": gate.secrets_dir,
        "trust_domain": gate.trust_domain,
    }
    while True:
        health = probe(gate.service, **where, words=False)
        if health.healthy and (not health.app_port or ready(gate.service, **where)):
            return health
        if time.monotonic() >= back_at:  # whatever it answers: the edge asks nobody who is out of rotation
            back_at = float("inf")
            into_rotation(gate, pod)
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_SECONDS
            with containers.engine() as docker:
                health = crashing(gate, pod, docker, health)
        if health.status == "FAILED" or time.monotonic() >= deadline:
            break
        time.sleep(POLL_SECONDS_ELSEWHERE if dial.is_elsewhere() else POLL_SECONDS)
    if not health.healthy and not health.reason:
        health = probe(gate.service, **where)  # for the words
    if health.healthy:
        reason = f"the app listens on port {health.app_port}, and its sidecar does not get through to it"
        return dataclasses.replace(health, status="NOT_SERVING", reason=reason)
    return health


def into_rotation(gate: Gate, pod: Pod) -> None:
    """Undo what an earlier gate did that refused this pod: when the apply is run again, Terraform makes no new one."""
    with containers.engine() as docker:
        for member in containers.members(docker, gate.stack, gate.service):
            if member.role == "sidecar" and member.pod_id == pod.id and member.state == "running":
                _drain(docker, member, "back")


def to_withdraw(gate: Gate, found: list[containers.Member], refused: list[Pod]) -> set[str]:
    """Ids of the pods to take out of rotation when some were refused.

    All of the new ones while an older generation runs, which goes on alone; only the refused ones when there is none,
    or when the service was only given more pods of the generation that serves already.
    """
    own = {m.generation for m in found if m.id in gate.ids}
    older = [m for m in older_than(gate, found) if m.role == "sidecar" and m.state == "running"]
    return set(gate.ids) if any(m.generation not in own for m in older) else {pod.id for pod in refused}


def older_than(gate: Gate, found: list[containers.Member]) -> list[containers.Member]:
    """The containers of pods that are not among those wanted, and were there before the newest of these."""
    newest = max((m.created for m in found if m.id in gate.ids), default=0)
    return [m for m in found if m.pod_id not in gate.ids and m.created <= newest]


def crashing(gate: Gate, pod: Pod, docker: Any, health: Health) -> Health:
    """FAILED with the exit code when the engine has started the new app again and again, else ``health`` as it is."""
    found = containers.members(docker, gate.stack, gate.service)
    app = next((m for m in found if m.role == "app" and m.pod_id == pod.id), None)
    details = docker.api.inspect_container(app.id) if app else {}
    restarts = int(details.get("RestartCount") or 0)
    if restarts < TRIES:
        return health
    # Between two ends it may be running for a moment; it is the count that says how it is.
    state = {**details["State"], "Restarting": True}
    code, reason = containers.ending({**details, "State": state})
    if code == 0:
        reason += "; an app with `dockerfile:` has to be a server, which goes on and listens"
    return dataclasses.replace(health, status="FAILED", reason=reason, exit_code=code, restarts=restarts)


def drain_older(gate: Gate) -> int:
    """Drain every running older pod of the service; return how many there were."""
    # A service's first generation has none: nothing of the engine's client library is needed for it then.
    rows = labelled(f"{containers.STACK}={gate.stack}", f"{containers.SERVICE}={gate.service}")
    found = [containers.member(row) for row in rows if row["Labels"].get(containers.ROLE)]
    lost = [pod.name for pod in gate.pods if pod.id not in {m.id for m in found}]
    if lost:
        raise KarstError(f"{gate.service}: the new pod {lost[0]} is gone", hint="run the apply again", code="pod_gone")
    older = older_than(gate, found)
    if not older:
        return 0
    with containers.engine() as docker:
        drained = drain(docker, older)
        # Last, to have what they said while they finished. Terraform removes them next, and with them their logs.
        keep_logs(gate, docker, older)
    return drained


def drain(docker: Any, pods: list[containers.Member], *, settle: float | None = None) -> int:
    """Take the sidecars among ``pods`` out of rotation, all at once; they stay up until Terraform stops them.

    ``settle`` is the time in seconds that callers are given to learn of another generation; None is the sidecar's own.
    """
    sidecars = [m for m in pods if m.role == "sidecar" and m.state == "running"]

    def one(sidecar: containers.Member) -> None:
        _drain(docker, sidecar, *([] if settle is None else [str(settle)]))

    with ThreadPoolExecutor(max_workers=max(1, len(sidecars))) as pool:
        list(pool.map(one, sidecars))
    return len(sidecars)


def _drain(docker: Any, sidecar: containers.Member, *arguments: str) -> None:
    execution = docker.api.exec_create(sidecar.id, ["/opt/karst/drain", *arguments])
    docker.api.exec_start(execution["Id"], detach=False)


def keep_logs(gate: Gate, docker: Any, pods: list[containers.Member], health: Health | None = None) -> None:
    """Keep the logs of the apps among ``pods``, each with how it is: as given, else as its runner says now."""
    from karst import kept_logs
    from karst.probe import probe

    if gate.log_dir is None:
        return
    names = {m.pod_id: m.name for m in pods if m.role == "pod" and m.state == "running"}
    for app in (m for m in pods if m.role == "app"):
        told = health
        if told is None and app.state == "running" and app.pod_id in names:
            options: dict[str, Any] = {
                "secrets_dir": gate.secrets_dir,
                "trust_domain": gate.trust_domain,
                "timeout": 1.0,
            }
            told = probe(gate.service, sni=names[app.pod_id], address=gate.pods[0].address, **options)
        known = told is not None and told.status != "UNREACHABLE"
        kept_logs.keep(
            docker,
            app,
            gate.log_dir,
            reason=told.reason if told and known and not told.healthy else "",
            exit_code=told.exit_code if told and known else None,
        )


def last_words(gate: Gate, docker: Any, pod: Pod) -> list[str]:
    """The last lines of the pod's app, indented, for the error text."""
    found = containers.members(docker, gate.stack, gate.service)
    apps = [m for m in found if m.role == "app" and m.pod_id == pod.id]
    lines = containers.tail(docker, apps[0].id, LOG_LINES) if apps else []
    return [f"last {len(lines)} lines of {gate.service}:", *(f"  | {line}" for line in lines)] if lines else []


def _pods(rows: Any, stack: str, edge: str) -> tuple[Pod, ...]:
    if not isinstance(rows, list) or not rows:
        raise ValueError("a list of pods")
    return tuple(Pod(one["id"], one["name"], _door(one, stack, edge)) for one in rows)


def _door(row: Mapping[str, Any], stack: str, edge: str) -> Door:
    host, _, port = (edge or f"{row['address']}:15000").rpartition(":")
    return Door(host, int(port), stack, container="" if edge else row["id"])
