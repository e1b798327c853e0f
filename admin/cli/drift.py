"""`iac drift`: what runs, compared with what was applied last. Changes nothing, fetches nothing, holds nobody up."""

from __future__ import annotations

import click

from admin.cli import output
from admin.cli.certs import store_of
from admin.cli.heal import diagnose, print_findings
from admin.cli.lock import undisturbed
from karst import containers, drift
from karst.deployed import applied
from karst.errors import Exit, KarstError
from karst.findings import Finding
from karst.stack import Stack

DRIFT = 2  # as `plan --detailed-exitcode` says that there are changes


def show(stack: Stack, *, as_json: bool, wait: float) -> int:
    """Print the differences; 0 when there are none, 2 when there are some.

    ``wait``: seconds to wait for a run that is changing the stack. Raises BusyError when it has not ended by then, and
    KarstError when there is nothing to compare with, or the state cannot be read.
    """
    found, pending, against = undisturbed(stack, lambda: _look(stack), wait=wait, tell=_say)
    if as_json:
        output.print_json(
            {
                "stack": stack.name,
                "drift": bool(found),
                "compared_with": against,
                "differences": [one.to_dict() for one in found],
                "pending": pending,
            }
        )
    else:
        _print(found, pending, against)
    return DRIFT if found else int(Exit.OK)


def _look(stack: Stack) -> tuple[list[Finding], list[dict[str, str]], str]:
    last = applied(stack)  # a state that is there and cannot be read must not look like none
    with containers.engine() as docker:
        seen, problems = diagnose(stack, docker, (), narrow=drift.known)
        if last is None and not seen.members:
            raise KarstError(
                f"nothing is recorded of stack `{stack.name}`, and nothing of it runs: there is nothing to compare",
                hint="name the stack with --stack, and see `iac status`",
                code="no_record",
            )
        found = drift.differences(stack, last, seen, problems, store_of(stack), docker)
    return found, drift.pending(stack, last), "labels" if last is None else "state"


def _print(found: list[Finding], pending: list[dict[str, str]], against: str) -> None:
    print_findings(found)
    for one in pending:
        click.echo(f"note: {drift.waiting(one)}")
    if against == "labels":
        click.echo("note: there is no state here: the containers were compared with each other alone")
    count = len(found)
    click.echo(f"{count} difference{'' if count == 1 else 's'}" if found else "no drift")


def _say(line: str) -> None:
    click.echo(f"   {line}", err=True)
