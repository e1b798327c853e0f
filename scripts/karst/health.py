"""The health of a stack: every service asked HealthCheck over mTLS through the edge, all at once.

Each pod is asked by its own name. After a failed deploy a service has two: the one that goes on serving, and one that
may not; asked by the service's name, either could answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from karst import containers
from karst.containers import Member
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.probe import Health


def ask(
    stack: Stack,
    names: Sequence[str] = (),
    *,
    timeout: float = 5.0,
    expected: Sequence[str] = (),
    listed: Sequence[Member] | None = None,
) -> list[Health]:
    """Ask the named services (default: all); raise UsageError for a name that the stack does not have.

    ``expected`` are services that ought to be there, also when nothing of them is. ``listed`` are the stack's
    containers, newest first, from a caller that knows them already.
    """
    if listed is None:
        with containers.engine() as docker:
            listed = containers.members(docker, stack.name)
    members = [m for m in listed if m.role in ("pod", "app", "sidecar")]
    known = sorted({member.service for member in members} | set(expected))
    containers.require(names, known, stack.name)
    pods = {name: [m for m in members if m.service == name and m.role == "pod"] for name in names or known}
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(lambda name: _service(stack, name, pods[name], timeout), pods))


def _service(stack: Stack, name: str, pods: list[Member], timeout: float) -> Health:
    from karst.probe import UNREACHABLE, Health, probe

    running = [pod for pod in pods if pod.state == "running"]
    if not running:
        return Health(name, UNREACHABLE, reason="its pod is not running; see `iac health`, and `iac heal`")
    answers = [
        probe(name, sni=pod.name, address=stack.edge, secrets_dir=stack.secrets_dir, timeout=timeout) for pod in running
    ]
    return judge(answers)


def judge(answers: list[Health]) -> Health:
    """One answer for a service from those of its pods, newest first: the newest that is healthy, else the newest."""
    healthy = next((answer for answer in answers if answer.healthy), None)
    newest = answers[0]
    if healthy is None or healthy is newest:
        return newest
    why = f"{newest.status}{': ' if newest.reason else ''}{newest.reason}"
    return dataclasses.replace(healthy, reason=f"an older generation serves; the newest is {why}")
