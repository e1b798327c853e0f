"""The `iac` command's commands and options. Each command is a few lines over the module that does the work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from admin.cli import extras
from admin.cli.certs import certs
from karst.errors import Exit, KarstError, UsageError, did_you_mean
from karst.external import internal_error
from karst.stack import Stack, resolve


class Suggesting(click.Group):
    """A group that answers a mistyped command with the nearest one, and knows which commands work from afar."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = super().list_commands(ctx)
        return [name for name in names if name in ANYWHERE or name in _afar()] if _is_afar(ctx) else names

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """With --url or --socket, the command of that name that talks to an admin app."""
        here = super().get_command(ctx, cmd_name)
        if here is None or cmd_name in ANYWHERE or not _is_afar(ctx):
            return here
        if cmd_name not in _afar():
            raise UsageError(
                f"`{cmd_name}` works on the machine itself, not through an admin app",
                hint="leave out --url and --socket (KARST_URL, KARST_SOCKET)",
                code="not_remote",
            )
        return _afar()[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as err:
            near = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(f"{err.message.rstrip('.')}{'; ' + near if near else ''}", ctx) from None


def _is_afar(ctx: click.Context) -> bool:
    return bool(ctx.params.get("url") or ctx.params.get("socket"))


def _afar() -> dict[str, click.Command]:
    from admin.cli.remote.commands import COMMANDS

    return COMMANDS


@click.group(cls=Suggesting, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--stack", metavar="NAME", help="Stack to work on (KARST_STACK; default karst).")
@click.option("--env", metavar="ROOT", help="Root module, a folder of envs/ (KARST_ENV; default local).")
@click.option("--url", metavar="URL", envvar="KARST_URL", help="Work through the admin app at URL (KARST_URL).")
@click.option("--socket", metavar="PATH", envvar="KARST_SOCKET", help="… or at its Unix socket (KARST_SOCKET).")
@click.pass_context
def cli(ctx: click.Context, stack: str | None, env: str | None, url: str | None, socket: str | None) -> None:
    """From a list of git repositories to running, mutually authenticated services on a Docker host."""
    load_dotenv()
    if env:
        os.environ["KARST_ENV"] = env
    ctx.obj = stack
    if _is_afar(ctx) and ctx.invoked_subcommand not in ANYWHERE:
        from admin.cli.remote.target import choose

        if stack:
            raise UsageError("--stack is a choice of the admin app, not of its callers", code="usage")
        ctx.obj = choose(url, socket)


def _file(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--file", "-f", "list_file", metavar="FILE", help="YAML or JSON list of slugs (default repos.yaml)."
    )(command)


def _ports(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, purpose in (
        ("front-door", "http://<service>.localhost for exposed services"),
        ("metrics", "statistics"),
        ("edge", "mTLS to every service"),
    ):
        command = click.option(f"--{name}-port", type=click.IntRange(1, 65535), help=f"Port on 127.0.0.1: {purpose}.")(
            command
        )
    command = click.option("--network", metavar="NAME", help="Docker network to make (KARST_NETWORK).")(command)
    return click.option("--secrets-dir", metavar="DIR", help="Folder of CA and identities (KARST_SECRETS_DIR).")(
        command
    )


_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_EVENTS = click.option("--events", is_flag=True, help="Events as JSON lines on stdout, the last one `result`.")
_RESULT = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout; progress on stderr.")
_WAIT = click.option(
    "--lock-wait", "wait", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Wait for another run to end."
)
_WHOLE = click.option(
    "--all-or-nothing",
    "whole",
    is_flag=True,
    envvar="KARST_ALL_OR_NOTHING",
    help="Fail when one service cannot be had, instead of holding it at its last good generation.",
)
_REFRESH = click.option(
    "--refresh", "--no-fast-path", "refresh", is_flag=True, help="Plan even when nothing seems to have changed."
)
_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@cli.command()
@_file
@_ports
@_EVENTS
@_RESULT
@_WAIT
@_WHOLE
@_REFRESH
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

    resolved = _resolve(stack, **settings)
    forms = {"as_events": events, "as_json": as_json}
    return runs.deploy(resolved, **forms, wait=wait, hold=not whole, refresh=refresh, approved=approved)


@cli.command()
@_file
@_ports
@_JSON
@_EVENTS
@_WAIT
@_WHOLE
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
    resolved = _resolve(stack, **settings)
    forms = {"as_json": as_json, "as_markdown": as_markdown, "as_events": events}
    return runs.plan(resolved, **forms, detailed=detailed, wait=wait, hold=not whole)


@cli.command()
@_file
@_ports
@_EVENTS
@_RESULT
@_WAIT
@_WHOLE
@_REFRESH
@click.pass_obj
def apply(
    stack: str | None, /, events: bool, as_json: bool, wait: float, whole: bool, refresh: bool, **settings: Any
) -> int:
    """Apply exactly the saved plan; without one, plan first."""
    from admin.cli import runs

    named = settings["list_file"] is not None
    resolved = _resolve(stack, **settings)
    return runs.apply(
        resolved, as_events=events, as_json=as_json, named=named, wait=wait, hold=not whole, refresh=refresh
    )


@cli.command()
@_EVENTS
@_RESULT
@_YES
@_WAIT
@click.option("--keep-images", is_flag=True, help="Leave the services' images on the host.")
@click.pass_obj
def destroy(stack: str | None, events: bool, as_json: bool, yes: bool, wait: float, keep_images: bool) -> int:
    """Remove the stack's containers, network and images. Secrets, list and lock file stay."""
    from admin.cli import runs

    resolved = _resolve(stack)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Destroy stack `{resolved.name}`?", abort=True)
    return runs.destroy(resolved, as_events=events, as_json=as_json, keep_images=keep_images, wait=wait)


@cli.command()
@_JSON
@click.pass_obj
def status(stack: str | None, as_json: bool) -> int:
    """Show what runs, what an earlier deploy left, who holds the stack, and how the last run ended."""
    from admin.cli.status import show

    return show(_resolve(stack), as_json=as_json)


@cli.command()
@_JSON
@click.argument("services", nargs=-1, shell_complete=extras.complete_service)
@click.pass_obj
def health(stack: str | None, as_json: bool, services: tuple[str, ...]) -> int:
    """Ask services for their health, and find what Docker does not see; exit 5 when something is wrong."""
    from admin.cli import heal

    return heal.health(_resolve(stack), services, as_json=as_json)


@cli.command()
@_JSON
@_WAIT
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.argument("services", nargs=-1, shell_complete=extras.complete_service)
@click.pass_obj
def heal(stack: str | None, as_json: bool, wait: float, dry_run: bool, services: tuple[str, ...]) -> int:
    """Restart, in order, what is broken; renew what has expired; remove what is left over."""
    from admin.cli import heal as healing

    return healing.heal(_resolve(stack), services, dry_run=dry_run, as_json=as_json, wait=wait)


@cli.command()
@_JSON
@_WAIT
@click.pass_obj
def drift(stack: str | None, as_json: bool, wait: float) -> int:
    """Compare what runs with what was applied last: exit 0 when nothing differs, 2 when something does."""
    from admin.cli.drift import show

    try:
        return show(_resolve(stack), as_json=as_json, wait=wait)
    except UsageError as err:  # a wrong setting must not look like drift
        raise KarstError(err.message, hint=err.hint, code=err.code, exit_code=Exit.FAILED) from None


@cli.command()
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
@_JSON
@click.pass_obj
def logs(stack: str | None, /, services: tuple[str, ...], **options: Any) -> int:
    """Show what the services print, merged in the order of time; also what replaced generations have said."""
    from admin.cli.logs import show

    return show(_resolve(stack), services, **options)


@cli.command()
@_JSON
@click.option("--watch", "-w", is_flag=True, help="Again and again, with rates and times of the last seconds only.")
@click.argument("services", nargs=-1, shell_complete=extras.complete_service)
@click.pass_obj
def stats(stack: str | None, as_json: bool, watch: bool, services: tuple[str, ...]) -> int:
    """Show requests, errors, times, connections, refusals and memory of services."""
    from admin.cli import figures

    return figures.show(_resolve(stack), services, as_json=as_json, watch=watch)


@cli.command()
@_JSON
@click.option("--dot", "as_dot", is_flag=True, help="Graphviz on stdout.")
@click.pass_obj
def graph(stack: str | None, as_json: bool, as_dot: bool) -> int:
    """Show who may call whom, and who did."""
    from admin.cli import figures

    if as_json and as_dot:
        raise UsageError("--json and --dot are two forms of one answer; choose one")
    return figures.draw(_resolve(stack), as_json=as_json, as_dot=as_dot)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def detect(arguments: tuple[str, ...]) -> int:
    """Say how a repository would be started, and why: `iac detect PATH|SLUG [--json] [--explain]`."""
    from karst.detect.command import main

    return main(list(arguments))


@cli.command()
@_file
@click.argument("service", required=False)
@click.pass_obj
def update(stack: str | None, list_file: str | None, service: str | None) -> int:
    """Move the lock file to the refs' newest commits: of one SERVICE, or of all."""
    from admin.cli.update import move

    return move(_resolve(stack, list_file=list_file), service)


@cli.command()
@_JSON
@click.argument("run", required=False)
@click.pass_obj
def cancel(stack: str | None, as_json: bool, run: str | None) -> int:
    """Ask the run that holds the stack to stop; with --url, RUN or the one under way there."""
    from admin.cli.cancel import cancel as ask

    if run is not None:
        raise UsageError("RUN is a run of an admin app", hint="name it with --url or --socket", code="usage")
    return ask(_resolve(stack), as_json=as_json)


cli.add_command(certs)
for extra in extras.COMMANDS.values():
    cli.add_command(extra)
# What does not ask which stack it is about, or finds the admin app by itself.
ANYWHERE = frozenset({*extras.COMMANDS, "detect"} - {"runs"})


@cli.command()
@_file
@_EVENTS
@_RESULT
@_WAIT
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

    resolved = _resolve(stack, list_file=list_file)
    return runs.rollback(resolved, service, target, as_events=events, as_json=as_json, wait=wait)


@cli.command()
@_JSON
@click.argument("service", shell_complete=extras.complete_service)
@click.pass_obj
def history(stack: str | None, as_json: bool, service: str) -> int:
    """Show every generation of SERVICE that was tried: when, by whom, and what came of it."""
    from admin.cli.history import show

    return show(_resolve(stack), service, as_json=as_json)


@cli.command()
@_JSON
@_WAIT
@click.option(
    "--keep", type=click.IntRange(1), default=5, show_default=True, help="Generations of each service to keep."
)
@click.option(
    "--unused-for", "unused", type=click.FloatRange(0), default=7, show_default=True, help="Days for cache entries."
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.pass_obj
def prune(stack: str | None, as_json: bool, wait: float, keep: int, unused: float, dry_run: bool) -> int:
    """Remove images that no rollback needs, and what in the cache nobody has used for long."""
    from admin.cli.prune import run

    return run(_resolve(stack), keep=keep, unused=unused, dry_run=dry_run, as_json=as_json, wait=wait)


_PATH = click.Path(dir_okay=False, path_type=Path)
_PASSPHRASE = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=_PATH,
    envvar="KARST_BACKUP_PASSPHRASE_FILE",
    help="File with the passphrase (KARST_BACKUP_PASSPHRASE_FILE); it is asked for otherwise.",
)


@cli.command()
@_file
@_PASSPHRASE
@_WAIT
@click.argument("path", required=False, metavar="[FILE]", type=_PATH)
@click.pass_obj
def backup(
    stack: str | None, /, list_file: str | None, passphrase_file: Path | None, wait: float, path: Path | None
) -> int:
    """Write the stack's state, keys, list and histories into one encrypted file (docs/production.md)."""
    from admin.cli.backup import back_up

    return back_up(_resolve(stack, list_file=list_file), path, passphrase_file, wait=wait)


@cli.command()
@_file
@_PASSPHRASE
@_WAIT
@click.option("--secrets-dir", metavar="DIR", help="Folder of CA and identities (KARST_SECRETS_DIR).")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["secrets", "list", "state", "history", "sources", "dotenv"]),
    help="Only this, and no deploy; may be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there and differ.")
@click.option("--no-deploy", is_flag=True, help="Only put the files and the state back.")
@click.argument("path", metavar="FILE", type=_PATH)
@click.pass_obj
def restore(
    stack: str | None,
    /,
    list_file: str | None,
    passphrase_file: Path | None,
    wait: float,
    secrets_dir: str | None,
    parts: tuple[str, ...],
    overwrite: bool,
    no_deploy: bool,
    path: Path,
) -> int:
    """Put back what `iac backup` wrote, and deploy it: the same revisions with the same identities."""
    from admin.cli.backup import restore as put_back

    given = {"stack": stack, "list_file": list_file, "secrets_dir": secrets_dir}
    return put_back(
        path, passphrase_file, parts=parts, overwrite=overwrite, deploy=not no_deploy, given=given, wait=wait
    )


def load_dotenv() -> None:
    """Read `.env` of the working folder or the checkout; what the environment already has wins."""
    from dotenv import dotenv_values, find_dotenv

    from karst.stack import ROOT

    path = find_dotenv(usecwd=True) or str(ROOT / ".env")
    with contextlib.suppress(OSError):
        for name, value in dotenv_values(path).items():
            if value and name not in _TOOLCHAIN:
                os.environ.setdefault(name, value)


# Read by `make bootstrap`, before anything could read `.env`: the two must not go by different values.
_TOOLCHAIN = frozenset({"KARST_CACHE", "KARST_VENV", "KARST_PYTHON", "KARST_TERRAFORM", "KARST_BUILD_CA"})


def _resolve(stack: str | None, **settings: Any) -> Stack:
    return resolve(name=stack, **settings)


def run(arguments: list[str] | None = None) -> int:
    """Run the command; every error is a sentence on stderr and an exit code of docs/cli.md."""
    # Before the options are read: KARST_URL and KARST_SOCKET may be in it.
    load_dotenv()
    try:
        code = cli.main(args=arguments, prog_name="iac", standalone_mode=False)
        return int(code or 0)
    except KarstError as err:
        click.echo(f"iac: {err}", err=True)
        return int(err.exit_code)
    except click.UsageError as err:
        click.echo(f"iac: {err.format_message()}", err=True)
        return int(Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("iac: interrupted", err=True)
        return int(Exit.INTERRUPTED)
    except click.ClickException as err:
        click.echo(f"iac: {err.format_message()}", err=True)
        return int(Exit.FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        return int(Exit.FAILED)
    except Exception as err:
        if os.environ.get("KARST_DEBUG"):
            raise
        click.echo(f"iac: {internal_error(err)}", err=True)
        return int(Exit.FAILED)


__all__ = ["UsageError", "cli", "run"]
