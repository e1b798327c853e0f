"""Commands that change what runs, or what the next deploy will run."""

from __future__ import annotations

import sys
from typing import Any

import click

from admin.cli import extras
from admin.cli.commands import options
from karst.errors import UsageError


@click.command()
@options.list_file
@options.ports
@options.EVENTS
@options.RESULT
@options.WAIT
@options.WHOLE
@options.REFRESH
@click.option("--approved", metavar="DIGEST", help="Apply no other plan than the reviewed one (docs/ci.md).")
@click.pass_obj
def deploy(
    stack: str | None,
    /,
    events: bool,
    as_json: bool,
    wait: float,
    whole: bool,
    refresh: bool,
    approved: str | None,
    **settings: Any,
) -> int:
    """Plan, apply, and ask every service for its health."""
    from admin.cli import runs

    resolved = options.resolve(stack, **settings)
    forms = {"as_events": events, "as_json": as_json}
    return runs.deploy(resolved, **forms, wait=wait, hold=not whole, refresh=refresh, approved=approved)


@click.command()
@options.list_file
@options.ports
@options.JSON
@options.EVENTS
@options.WAIT
@options.WHOLE
@click.option(
    "--markdown", "as_markdown", is_flag=True, help="For review: a summary on stdout, nothing saved (docs/ci.md)."
)
@click.option("--detailed-exitcode", "detailed", is_flag=True, help="Exit 2 when there is something to change.")
@click.pass_obj
def plan(
    stack: str | None,
    /,
    as_json: bool,
    as_markdown: bool,
    events: bool,
    wait: float,
    whole: bool,
    detailed: bool,
    **settings: Any,
) -> int:
    """Say what would change and why, and save it for `iac apply`."""
    from admin.cli import runs

    if as_json + as_markdown + events > 1:
        raise UsageError("--json, --markdown and --events are forms of one answer; choose one")
    resolved = options.resolve(stack, **settings)
    forms = {"as_json": as_json, "as_markdown": as_markdown, "as_events": events}
    return runs.plan(resolved, **forms, detailed=detailed, wait=wait, hold=not whole)


@click.command()
@options.list_file
@options.ports
@options.EVENTS
@options.RESULT
@options.WAIT
@options.WHOLE
@options.REFRESH
@click.pass_obj
def apply(
    stack: str | None, /, events: bool, as_json: bool, wait: float, whole: bool, refresh: bool, **settings: Any
) -> int:
    """Apply exactly the saved plan; without one, plan first."""
    from admin.cli import runs

    named = settings["list_file"] is not None
    resolved = options.resolve(stack, **settings)
    return runs.apply(
        resolved, as_events=events, as_json=as_json, named=named, wait=wait, hold=not whole, refresh=refresh
    )


@click.command()
@options.EVENTS
@options.RESULT
@options.YES
@options.WAIT
@click.option("--keep-images", is_flag=True, help="Leave the services' images on the host.")
@click.pass_obj
def destroy(stack: str | None, events: bool, as_json: bool, yes: bool, wait: float, keep_images: bool) -> int:
    """Remove the stack's containers, network and images. Secrets, list and lock file stay."""
    from admin.cli import runs

    resolved = options.resolve(stack)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Destroy stack `{resolved.name}`?", abort=True)
    return runs.destroy(resolved, as_events=events, as_json=as_json, keep_images=keep_images, wait=wait)


@click.command()
@options.list_file
@options.EVENTS
@options.RESULT
@options.WAIT
@click.option("--to", "target", metavar="REVISION", help="Revision or generation (its beginning) to go back to.")
@click.argument("service", shell_complete=extras.complete_service)
@click.pass_obj
def rollback(
    stack: str | None,
    /,
    list_file: str | None,
    events: bool,
    as_json: bool,
    wait: float,
    target: str | None,
    service: str,
) -> int:
    """Go back to the generation of SERVICE before this one, or to REVISION; `iac update SERVICE` leaves it."""
    from admin.cli import runs

    resolved = options.resolve(stack, list_file=list_file)
    return runs.rollback(resolved, service, target, as_events=events, as_json=as_json, wait=wait)


@click.command()
@options.list_file
@click.argument("service", required=False)
@click.pass_obj
def update(stack: str | None, list_file: str | None, service: str | None) -> int:
    """Move the lock file to the refs' newest commits: of one SERVICE, or of all."""
    from admin.cli.update import move

    return move(options.resolve(stack, list_file=list_file), service)


@click.command()
@options.JSON
@click.argument("run", required=False)
@click.pass_obj
def cancel(stack: str | None, as_json: bool, run: str | None) -> int:
    """Ask the run that holds the stack to stop; with --url, RUN or the one under way there."""
    from admin.cli.cancel import cancel as ask

    if run is not None:
        raise UsageError("RUN is a run of an admin app", hint="name it with --url or --socket", code="usage")
    return ask(options.resolve(stack), as_json=as_json)


COMMANDS = (deploy, plan, apply, destroy, rollback, update, cancel)
