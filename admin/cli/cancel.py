"""`iac cancel` on this machine: ask the run that holds the stack to stop, as Ctrl-C where it runs would."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import click

from admin.cli import lock, output
from karst.errors import BusyError, Exit, KarstError
from karst.stack import Stack


def cancel(stack: Stack, *, as_json: bool) -> int:
    """Send SIGTERM to the holder, which passes it on to Terraform once; return the exit code."""
    found = lock.holder(stack)
    if found is None:
        raise KarstError(f"nothing runs on stack `{stack.name}`", code="no_run")
    _signal(stack, found)
    if as_json:
        output.print_json({"stack": stack.name, "asked": found})
    else:
        click.echo(
            f"asked `iac {found.get('verb')}` by {found.get('user')} (process {found.get('pid')}) to stop; "
            "Terraform finishes what it is at and saves its state",
            err=True,
        )
    return int(Exit.OK)


def _signal(stack: Stack, found: dict[str, Any]) -> None:
    pid = found.get("pid")
    if found["orphan"] or not isinstance(pid, int):
        raise BusyError(
            f"stack `{stack.name}` is held by a Terraform that no `iac` looks after",
            hint="it goes on by itself: wait for it, or interrupt it once where it runs",
            code="orphan",
        )
    if found.get("host") != socket.gethostname():
        raise BusyError(f"the run is on {found.get('host')}, not on this machine", hint="cancel it there", code="away")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        raise KarstError("the run has just ended", code="no_run") from None
    except PermissionError:
        raise KarstError(
            f"the run is {found.get('user')}'s (process {pid}), and you may not stop it",
            exit_code=Exit.AUTH,
            code="denied",
        ) from None
