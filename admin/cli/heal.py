"""`iac health` with what Docker does not see, and `iac heal`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from admin.cli import output
from admin.cli.certs import store_of
from admin.cli.lock import exclusive
from karst import containers, findings
from karst import heal as healing
from karst.errors import Exit
from karst.health import ask
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.findings import Finding
    from karst.heal import Step
    from karst.probe import Health

SERVE_SECONDS = 60.0
SETTLE_SECONDS = 15.0  # for what Docker itself is just starting again
ROUNDS = 3


def health(stack: Stack, names: Sequence[str], *, as_json: bool) -> int:
    """Ask the services and look behind Docker's back; 5 when one is not healthy or something does not work."""
    with containers.engine() as docker:
        seen, problems = diagnose(stack, docker, names)
    answers = ask(stack, names, expected=seen.services())
    if as_json:
        output.print_json(_rows(answers, problems))
    elif answers:
        output.health_table(answers)
        print_findings(problems)
    else:
        click.echo("no services are deployed; `iac deploy --file repos.yaml` deploys some", err=True)
    return _code(answers, problems)


def heal(stack: Stack, names: Sequence[str], *, dry_run: bool, as_json: bool, wait: float) -> int:
    """Put right what can be put right in place, then say what is left; 5 when something is."""
    if dry_run:
        with containers.engine() as docker:
            seen, problems = diagnose(stack, docker, names)
        answers = ask(stack, names, expected=seen.services())
        _report(stack, as_json, dry_run, healing.steps(seen, problems), problems, [], answers)
        return int(Exit.UNHEALTHY if any(p.severity == findings.ERROR for p in problems) else Exit.OK)
    with exclusive(stack, "heal", wait=wait, tell=_say), containers.engine() as docker:
        done, failed, problems, answers = _heal(stack, docker, names)
    _report(stack, as_json, dry_run, done, problems, failed, answers)
    return _code(answers, problems)


def _heal(
    stack: Stack, docker: Any, names: Sequence[str]
) -> tuple[list[Step], list[tuple[Step, str]], list[Finding], list[Health]]:
    done: list[Step] = []
    failed: list[tuple[Step, str]] = []
    for _ in range(ROUNDS):  # that an Envoy shows an old certificate is seen only when it can be asked again
        seen, problems = diagnose(stack, docker, names)
        first, last = healing.removals_last(healing.steps(seen, problems))
        healer = healing.Healer(stack, docker, store_of(stack), _say)
        did = healer.do(seen, [*first, *last])
        done, failed = done + did, healer.failed
        answers = _await(stack, names, seen.services(), SERVE_SECONDS if did else SETTLE_SECONDS)
        if not did:
            break
    else:
        _, problems = diagnose(stack, docker, names)
    return done, failed, problems, answers


def _serves(stack: Stack, seen: findings.Look, service: str) -> bool:
    """Whether all of the generation that was deployed last is healthy itself: not an older one in its place."""
    from karst.probe import probe

    pods = {pod.get("pod") for pod in seen.current(service)}
    names = [m.name for m in seen.members if m.id in pods]
    options: dict[str, Any] = {"address": stack.edge, "secrets_dir": stack.secrets_dir}
    return len(names) == len(pods) > 0 and all(probe(service, sni=name, **options).healthy for name in names)


def _await(stack: Stack, names: Sequence[str], expected: Sequence[str], patience: float) -> list[Health]:
    """Ask until all are healthy, or what is not will not become so."""
    deadline = time.monotonic() + patience
    while True:
        answers = ask(stack, names, expected=expected)
        if all(a.whole or a.status == "FAILED" for a in answers) or time.monotonic() > deadline:
            return answers
        time.sleep(0.5)


def diagnose(
    stack: Stack,
    docker: Any,
    names: Sequence[str],
    *,
    narrow: Callable[[findings.Look], findings.Look] = lambda seen: seen,
) -> tuple[findings.Look, list[Finding]]:
    """What is seen of the stack, and what is wrong with it; ``narrow`` leaves out what is not to be judged."""
    seen = narrow(findings.look(stack, docker))
    containers.require(names, seen.services(), stack.name)
    problems = findings.diagnose(stack, seen, store_of(stack), names)
    return seen, findings.weigh(problems, lambda service: _serves(stack, seen, service))


def _report(
    stack: Stack,
    as_json: bool,
    dry_run: bool,
    steps: Sequence[Step],
    problems: Sequence[Finding],
    failed: Sequence[tuple[Step, str]],
    answers: Sequence[Health],
) -> None:
    if as_json:
        output.print_json(
            {
                "stack": stack.name,
                "dry_run": dry_run,
                "steps": [step.to_dict() for step in steps],
                "failed": [{**step.to_dict(), "error": why} for step, why in failed],
                "findings": [problem.to_dict() for problem in problems],
                "services": _rows(answers, problems),
            }
        )
        return
    if dry_run:
        sys.stdout.writelines(f"would {step}\n" for step in steps)
    elif not steps and not problems:
        click.echo("nothing to heal")
    output.health_table(answers)
    print_findings([p for p in problems if not dry_run or p.fix in _REMEDIES])


def _rows(answers: Sequence[Health], problems: Sequence[Finding]) -> list[dict[str, Any]]:
    """One object a service, with its findings and the stack's own (those have no service)."""
    return [
        {**row, "findings": [p.to_dict() for p in problems if p.service in ("", row["service"])]}
        for row in output.health_rows(answers)
    ]


def print_findings(problems: Sequence[Finding]) -> None:
    """One line each, with what puts it right."""
    for problem in problems:
        remedy = _REMEDIES.get(problem.fix, "`iac heal` puts it right")
        where = f"{problem.service}: " if problem.service else ""
        click.echo(f"{problem.severity}: {where}{problem.message}{'; ' + remedy if remedy else ''}")


_REMEDIES = {findings.DEPLOY: "run `iac deploy`", findings.REFRESH: "run `iac deploy --refresh`", "": ""}


def _code(answers: Sequence[Health], problems: Sequence[Finding]) -> int:
    wrong = any(problem.severity == findings.ERROR for problem in problems)
    return int(Exit.UNHEALTHY if wrong or not all(answer.whole for answer in answers) else Exit.OK)


def _say(line: str) -> None:
    click.echo(f"   {line}", err=True)
