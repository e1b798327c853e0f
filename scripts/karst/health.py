"""The health of a stack: every service asked HealthCheck over mTLS through the edge, all at once.

Each pod is asked by its own name. After a failed deploy a service has two: the one that goes on serving, and one that
may not; asked by the service's name, either could answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
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
    members = [m for m in containers.deployed(listed) if m.role in ("pod", "app", "sidecar")]
    known = sorted({member.service for member in members} | set(expected))
    containers.require(names, known, stack.name)
    pods = [m for m in members if m.role == "pod" and (not names or m.service in names)]

    def probe(pod: Member) -> Health:
        from karst.probe import UNREACHABLE, Health, probe

        if pod.state != "running":
            return Health(pod.service, UNREACHABLE, reason=_DOWN, revision=pod.revision)
        return probe(pod.service, sni=pod.name, address=stack.edge, secrets_dir=stack.secrets_dir, timeout=timeout)

    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = dict(zip((pod.id for pod in pods), pool.map(probe, pods), strict=True))
    return [_service(name, [pod for pod in pods if pod.service == name], answers) for name in names or known]


_DOWN = "its pod is not running; see `iac health`, and `iac heal`"


def _service(name: str, pods: list[Member], answers: Mapping[str, Health]) -> Health:
    from karst.probe import UNREACHABLE, Health

    generations: dict[str, list[Health]] = {}
    for pod in pods:
        generations.setdefault(pod.generation, []).append(answers[pod.id])
    # What is left of an older generation and does not run says nothing.
    told = [combine(found) for found in generations.values()]
    told = [one for number, one in enumerate(told) if number == 0 or one.reason != _DOWN]
    return judge(told) if told else Health(name, UNREACHABLE, reason=_DOWN)


def combine(answers: Sequence[Health]) -> Health:
    """One answer for the pods of a generation: a healthy one's, with what is wrong with the others."""
    well = [answer for answer in answers if answer.healthy]
    ill = next((answer for answer in answers if not answer.healthy), None)
    if len(answers) == 1:
        return answers[0]
    told = dataclasses.replace((well or answers)[0], pods=len(answers), healthy_pods=len(well))
    if ill is None or not well:
        return told
    why = f"{ill.status}{': ' if ill.reason else ''}{ill.reason}"
    return dataclasses.replace(told, reason=f"{len(well)} of {len(answers)} pods are healthy; one is {why}")


def judge(answers: list[Health]) -> Health:
    """One answer for a service from those of its generations, newest first: the newest healthy one, else the newest."""
    healthy = next((answer for answer in answers if answer.healthy), None)
    newest = answers[0]
    if healthy is None or healthy is newest:
        return newest
    why = f"{newest.status}{': ' if newest.reason else ''}{newest.reason}"
    return dataclasses.replace(healthy, reason=f"an older generation serves; the newest is {why}")
