"""Commands that look at a stack or a repository, and change nothing."""

from __future__ import annotations

from typing import Any

import click

from admin.cli import extras
from admin.cli.commands import options
from karst.errors import Exit, KarstError, UsageError


@click.command()
@options.JSON
@click.pass_obj
def status(stack: str | None, as_json: bool) -> int:
    """Show what runs, what an earlier deploy left, who holds the stack, and how the last run ended."""
    from admin.cli.status import show

    return show(options.resolve(stack), as_json=as_json)


@click.command()
@options.JSON
@click.argument("services", nargs=-1, shell_complete=extras.complete_service)
@click.pass_obj
def health(stack: str | None, as_json: bool, services: tuple[str, ...]) -> int:
    """Ask services for their health, and find what Docker does not see; exit 5 when something is wrong."""
    from admin.cli import heal

    return heal.health(options.resolve(stack), services, as_json=as_json)


@click.command()
@options.JSON
@options.WAIT
@click.pass_obj
def drift(stack: str | None, as_json: bool, wait: float) -> int:
    """Compare what runs with what was applied last: exit 0 when nothing differs, 2 when something does."""
    from admin.cli.drift import show

    try:
        return show(options.resolve(stack), as_json=as_json, wait=wait)
    except UsageError as err:  # a wrong setting must not look like drift
        raise KarstError(err.message, hint=err.hint, code=err.code, exit_code=Exit.FAILED) from None


@click.command()
@click.option(
    "--service",
    "-s",
    "services",
    multiple=True,
    metavar="NAME",
    shell_complete=extras.complete_service,
    help="Service to show; may be repeated.",
)
@click.option("--follow", "following", is_flag=True, help="Go on as lines come, also over replacements.")
@click.option("--tail", type=click.IntRange(0), default=200, show_default=True, help="Lines of each to begin with.")
@click.option("--since", metavar="TIME", help="Only newer lines: 10m, 1h30m, 2026-01-31T08:00:00Z.")
@click.option("--grep", metavar="REGEX", help="Only lines that match.")
@click.option("--previous", "-p", is_flag=True, help="Only the generation before the newest.")
@click.option("--generation", metavar="ID", help="Only this generation or revision; its beginning is enough.")
@click.option("--timestamps", "-t", is_flag=True, help="Begin each line with its time.")
@click.option("--traces", is_flag=True, help="Show the spans (OTLP/JSON lines), too.")
@options.JSON
@click.pass_obj
def logs(stack: str | None, /, services: tuple[str, ...], **lines: Any) -> int:
    """Show what the services print, merged in the order of time; also what replaced generations have said."""
    from admin.cli.logs import show

    return show(options.resolve(stack), services, **lines)


@click.command()
@options.JSON
@click.option("--watch", "-w", is_flag=True, help="Again and again, with rates and times of the last seconds only.")
@click.argument("services", nargs=-1, shell_complete=extras.complete_service)
@click.pass_obj
def stats(stack: str | None, as_json: bool, watch: bool, services: tuple[str, ...]) -> int:
    """Show requests, errors, times, connections, refusals and memory of services."""
    from admin.cli import figures

    return figures.show(options.resolve(stack), services, as_json=as_json, watch=watch)


@click.command()
@options.JSON
@click.option("--dot", "as_dot", is_flag=True, help="Graphviz on stdout.")
@click.pass_obj
def graph(stack: str | None, as_json: bool, as_dot: bool) -> int:
    """Show who may call whom, and who did."""
    from admin.cli import figures

    if as_json and as_dot:
        raise UsageError("--json and --dot are two forms of one answer; choose one")
    return figures.draw(options.resolve(stack), as_json=as_json, as_dot=as_dot)


@click.command()
@options.JSON
@click.argument("service", shell_complete=extras.complete_service)
@click.pass_obj
def history(stack: str | None, as_json: bool, service: str) -> int:
    """Show every generation of SERVICE that was tried: when, by whom, and what came of it."""
    from admin.cli.history import show

    return show(options.resolve(stack), service, as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def detect(arguments: tuple[str, ...]) -> int:
    """Say how a repository would be started, and why: `iac detect PATH|SLUG [--json] [--explain]`."""
    from karst.detect.command import main

    return main(list(arguments))


COMMANDS = (status, health, drift, logs, stats, graph, history, detect)
