"""The gate: the last link of a service's deploy, and the switch between two generations of it.

It asks the new pod HealthCheck over mTLS, by the pod's own name, until it is SERVING. Then it drains the older pods of
that service. When the new pod does not get there, it takes that one out of rotation, so that the old one keeps serving
alone, and fails with the reason and the app's last lines.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karst import containers
from karst.errors import KarstError, UnhealthyError, UsageError

if TYPE_CHECKING:
    from karst.probe import Health

POLL_SECONDS = 0.1
LOG_LINES = 15


@dataclass(frozen=True)
class Gate:
    """What the gate is asked to let through.

    Attributes:
        service, stack: names.
        pod: name of the new pod's container, which is also its name on the network.
        pod_id: id of that container.
        address: host and port to ask at: the edge, or the pod itself where there is no edge.
        secrets_dir: folder with the operator's identity.
        timeout: seconds until the new pod must be SERVING.
        log_dir: where the logs of generations that go are kept; None keeps none.
    """

    service: str
    stack: str
    pod: str
    pod_id: str
    address: tuple[str, int]
    secrets_dir: Path
    trust_domain: str
    timeout: float
    log_dir: Path | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Gate:
        """Read the values that Terraform hands over by environment, never by a command line."""
        try:
            host, _, port = (env.get("KARST_EDGE") or f"{env['KARST_POD_ADDRESS']}:15000").rpartition(":")
            return cls(
                service=env["KARST_SERVICE"],
                stack=env["KARST_STACK"],
                pod=env["KARST_POD"],
                pod_id=env["KARST_POD_ID"],
                address=(host, int(port)),
                secrets_dir=Path(env["KARST_SECRETS_DIR"]),
                trust_domain=env.get("KARST_TRUST_DOMAIN", "karst.local"),
                timeout=float(env.get("KARST_GATE_TIMEOUT", "60")),
                log_dir=Path(env["KARST_LOG_DIR"]) if env.get("KARST_LOG_DIR") else None,
            )
        except (KeyError, ValueError) as err:
            raise UsageError(
                f"the gate needs {err} in its environment",
                hint="modules/karst_service/pods.tf runs it; to ask by hand use scripts/health",
            ) from err


def main() -> int:
    """Run the gate from the environment; raise UnhealthyError when the new generation may not take over."""
    gate = Gate.from_env(os.environ)
    with containers.engine() as docker:
        health = wait(gate)
        if health.healthy:
            drained = drain_older(gate, docker)
            after = f", drained {drained} older" if drained else ""
            print(f"{gate.service}: {health.status} at {health.revision[:12]}{after}", file=sys.stderr)
            return 0
        lines = last_words(gate, docker)
        found = containers.members(docker, gate.stack, gate.service)
        new = [m for m in found if m.pod_id == gate.pod_id]
        keep_logs(gate, docker, new, health)
        drain(docker, new, settle=0)
    from karst.crash_errors import explain_crash

    known = explain_crash("\n".join(lines))
    what = f"{gate.service} is not healthy: {health.status}, {health.reason or 'no reason given'}"
    raise UnhealthyError(
        "\n".join([what, *([known.message] if known else []), *lines]),
        hint=(f"{known.hint}; " if known and known.hint else "")
        + f"the generation that served before still serves, if there was one; `iac logs -s {gate.service}` has more",
        code="unhealthy",
    )


def wait(gate: Gate) -> Health:
    """Ask until the pod is healthy and in rotation, has FAILED for good, or the time is up; return the last answer."""
    from karst.probe import probe, ready

    deadline = time.monotonic() + gate.timeout
    where: dict[str, Any] = {
        "sni": gate.pod,
        "address": gate.address,
        "secrets_dir": gate.secrets_dir,
        "trust_domain": gate.trust_domain,
    }
    while True:
        health = probe(gate.service, **where)
        if health.healthy and (not health.app_port or ready(gate.service, **where)):
            return health
        if health.status == "FAILED" or time.monotonic() >= deadline:
            break
        time.sleep(POLL_SECONDS)
    if health.healthy:
        reason = f"the app listens on port {health.app_port}, and its sidecar does not get through to it"
        return dataclasses.replace(health, status="NOT_SERVING", reason=reason)
    return health


def drain_older(gate: Gate, docker: Any) -> int:
    """Drain every running older pod of the service; return how many there were."""
    found = containers.members(docker, gate.stack, gate.service)
    new = next((m for m in found if m.id == gate.pod_id), None)
    if new is None:
        raise KarstError(f"{gate.service}: the new pod {gate.pod} is gone", hint="run the apply again", code="pod_gone")
    older = [m for m in found if m.pod_id != gate.pod_id and m.created <= new.created]
    drained = drain(docker, older)
    # Last, to have what they said while they finished. Terraform removes them next, and with them their logs.
    keep_logs(gate, docker, older)
    return drained


def drain(docker: Any, pods: list[containers.Member], *, settle: float | None = None) -> int:
    """Take the sidecars among ``pods`` out of rotation, one after the other; they stay up until Terraform stops them.

    ``settle`` is the time in seconds that callers are given to learn of another generation; None is the sidecar's own.
    """
    sidecars = [m for m in pods if m.role == "sidecar" and m.state == "running"]
    for sidecar in sidecars:
        command = ["/opt/karst/drain", *([] if settle is None else [str(settle)])]
        execution = docker.api.exec_create(sidecar.id, command)
        docker.api.exec_start(execution["Id"], detach=False)
    return len(sidecars)


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
            told = probe(gate.service, sni=names[app.pod_id], address=gate.address, **options)
        known = told is not None and told.status != "UNREACHABLE"
        kept_logs.keep(
            docker,
            app,
            gate.log_dir,
            reason=told.reason if told and known and not told.healthy else "",
            exit_code=told.exit_code if told and known else None,
        )


def last_words(gate: Gate, docker: Any) -> list[str]:
    """The app's last lines, indented, for the error text."""
    found = containers.members(docker, gate.stack, gate.service)
    apps = [m for m in found if m.role == "app" and m.pod_id == gate.pod_id]
    lines = containers.tail(docker, apps[0].id, LOG_LINES) if apps else []
    return [f"last {len(lines)} lines of {gate.service}:", *(f"  | {line}" for line in lines)] if lines else []
