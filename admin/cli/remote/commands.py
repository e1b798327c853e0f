"""The commands that work through an admin app, with the options that mean something there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from admin.cli import output
from admin.cli.remote import logs as remote_logs
from admin.cli.remote import watch
from admin.cli.remote.client import Client
from admin.cli.remote.target import Target
from karst import containers
from karst.errors import Exit, KarstError, UsageError

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_EVENTS = click.option("--events", is_flag=True, help="Events as JSON lines on stdout, the last one `result`.")
_WAIT = click.option(
    "--lock-wait", "wait", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Wait for another run to end."
)
_FILE = click.option("--file", "-f", "list_file", metavar="FILE", default="repos.yaml", help="List of slugs.")
_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.command()
@_FILE
@_EVENTS
@_JSON
@_WAIT
@click.pass_obj
def deploy(target: Target, list_file: str, events: bool, as_json: bool, wait: float) -> int:
    """Deploy the list through the admin app, and follow the run to its end."""
    client = Client(target)
    run = watch.start(client, {"slugs": _entries(list_file)}, wait=wait)
    return watch.show(client, run, as_events=events, as_json=as_json)


@click.command()
@_FILE
@_EVENTS
@_JSON
@_WAIT
@click.option("--detailed-exitcode", "detailed", is_flag=True, help="Exit 2 when there is something to change.")
@click.pass_obj
def plan(target: Target, list_file: str, events: bool, as_json: bool, wait: float, detailed: bool) -> int:
    """Say what would change and why; `apply` then applies exactly that, as long as nothing else was run."""
    client, found = Client(target), dict[str, Any]()
    run = watch.start(client, {"slugs": _entries(list_file), "dry_run": True}, wait=wait)

    def keep(event: dict[str, Any]) -> None:
        if event["type"] == "plan":
            found.update(event)

    code = watch.show(client, run, as_events=events, table=False, each=keep)
    if as_json and not events:
        output.print_json({"run": run, "services": found.get("services", {})})
    return 2 if code == Exit.OK and detailed and found.get("changes") else code


@click.command()
@_EVENTS
@_JSON
@_WAIT
@click.pass_obj
def apply(target: Target, events: bool, as_json: bool, wait: float) -> int:
    """Apply exactly the latest plan, as long as nothing was run since."""
    client = Client(target)
    latest = client.get("/v1/plan")["plan"]
    if latest is None:
        raise UsageError(
            "there is no plan", hint="`iac plan` makes one; `iac deploy` plans and applies", code="no_plan"
        )
    run = watch.start(client, {"plan": latest["run"]}, wait=wait)
    return watch.show(client, run, as_events=events, as_json=as_json)


@click.command()
@_JSON
@click.argument("services", nargs=-1)
@click.pass_obj
def health(target: Target, as_json: bool, services: tuple[str, ...]) -> int:
    """Show each service's health; exit 5 when one is not healthy."""
    rows = Client(target).get("/v1/services")["services"]
    containers.require(services, [row["service"] for row in rows], target.name)
    rows = [row for row in rows if not services or row["service"] in services]
    answers = watch.health(rows)
    if as_json:
        output.print_json(rows)
    elif answers:
        output.health_table(answers)
    else:
        click.echo("no services are deployed; `iac deploy --file repos.yaml` deploys some", err=True)
    return int(Exit.OK if all(answer.whole for answer in answers) else Exit.UNHEALTHY)


@click.command()
@_JSON
@click.pass_obj
def status(target: Target, as_json: bool) -> int:
    """Show what runs, and the run that is under way or was the last."""
    client = Client(target)
    rows, runs = client.get("/v1/services")["services"], client.get("/v1/deploys", limit=1)["deploys"]
    me = client.get("/v1/me")
    if as_json:
        output.print_json({"stack": me["stack"], "services": rows, "last_run": runs[0] if runs else None})
        return int(Exit.OK)
    click.echo(f"stack {me['stack']} at {target.name}" + (f"; {_sentence(runs[0])}" if runs else "; no run yet"))
    if rows:
        output.health_table(watch.health(rows))
    return int(Exit.OK)


@click.command()
@_JSON
@_EVENTS
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="So many runs.")
@click.argument("run", required=False)
@click.pass_obj
def runs(target: Target, as_json: bool, events: bool, limit: int, run: str | None) -> int:
    """List the admin app's runs; with RUN, show its events and follow it to its end."""
    client = Client(target)
    if run is not None:
        client.get(f"/v1/deploys/{_id(run)}")
        return watch.show(client, run, as_events=events, as_json=as_json)
    found = client.get("/v1/deploys", limit=limit)["deploys"]
    if as_json:
        output.print_json(found)
        return int(Exit.OK)
    output.table(
        ("RUN", "WHAT", "STARTED", "BY", "STATE", "OUTCOME"),
        [
            (one["id"], one["kind"], one["started"], one["by_name"] or one["by"], one["state"], one.get("outcome", ""))
            for one in found
        ],
    )
    return int(Exit.OK)


@click.command()
@_JSON
@click.argument("run", required=False)
@click.pass_obj
def cancel(target: Target, as_json: bool, run: str | None) -> int:
    """Interrupt RUN, or the one that is under way: Terraform finishes what it is at and saves its state."""
    client = Client(target)
    if run is None:
        under_way = [one for one in client.get("/v1/deploys", limit=50)["deploys"] if one["state"] != "finished"]
        if not under_way:
            raise KarstError("no run is under way", code="no_run")
        run = str(under_way[0]["id"])
    found = client.post(f"/v1/deploys/{_id(run)}/cancel", {})
    if as_json:
        output.print_json(found)
    else:
        click.echo(f"asked run {run} to stop; `iac runs {run}` shows how it ends", err=True)
    return int(Exit.OK)


@click.command()
@click.option("--service", "-s", "services", multiple=True, metavar="NAME", help="Service to show; may be repeated.")
@click.option("--follow", "following", is_flag=True, help="Go on as lines come, also over replacements.")
@click.option(
    "--tail", type=click.IntRange(0, 10_000), default=200, show_default=True, help="Lines of each to begin with."
)
@click.option("--since", metavar="TIME", help="Only newer lines: 10m, 1h30m, 2026-01-31T08:00:00Z.")
@click.option("--grep", metavar="REGEX", help="Only lines that match.")
@click.option("--timestamps", "-t", is_flag=True, help="Begin each line with its time.")
@_JSON
@click.pass_obj
def logs(target: Target, /, services: tuple[str, ...], **options: Any) -> int:
    """Show what the services print, merged in the order of time."""
    return remote_logs.show(Client(target), services, **options)


COMMANDS = {
    command.name: command for command in (deploy, plan, apply, health, status, runs, cancel, logs) if command.name
}


def _entries(list_file: str) -> list[Any]:
    """The list, checked here first, as the API takes it."""
    from karst.listfile import read_list
    from karst.manifest import parse_list

    path = Path(list_file).absolute()
    entries = read_list(path)
    parse_list(entries, path.parent, where=path.name)
    return list(entries)


def _id(run: str) -> str:
    from admin.runs.record import is_id

    if not is_id(run):
        raise UsageError(f"`{run[:60]}` is not the id of a run", hint="`iac runs` lists them", code="bad_run")
    return run


def _sentence(run: dict[str, Any]) -> str:
    who = run["by_name"] or run["by"]
    if run["state"] != "finished":
        return f"run {run['id']} ({run['kind']}) is {run['state']} since {run['started']}, started by {who}"
    return f"the last run ({run['kind']} by {who}) ended {run['finished']}: {run['outcome']}"
