"""Commands beside the stack: the audit log, the machine's state, completion, and signing in to an admin app."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli import output
from karst.errors import Exit, KarstError, UsageError

if TYPE_CHECKING:
    from admin.cli.remote.target import Target

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


def complete_service(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Names for the shell: the services that were ever deployed to the stack here; none for an admin app's."""
    from karst import generations
    from karst.stack import resolve

    root = ctx.find_root()
    if root.params.get("url") or root.params.get("socket"):
        return []
    known = generations.services(resolve(name=root.params.get("stack")).history_dir)
    return [name for name in known if name.startswith(begun)]


@click.group()
def audit() -> None:
    """Look at the admin app's audit log."""


@audit.command()
@_JSON
@click.argument("path", required=False, metavar="[PATH]")
def verify(as_json: bool, path: str | None) -> int:
    """Check the chain of the audit log; exit 1 when a line was changed, removed, put in or cut off."""
    from admin.audit import head_path
    from admin.audit import verify as walk
    from karst.stack import ROOT

    log = Path(path or Path(os.environ.get("KARST_ADMIN_DATA") or ROOT / ".karst" / "admin") / "audit.ndjson")
    log = log / "audit.ndjson" if log.is_dir() else log
    if not log.exists() and not head_path(log).exists():
        raise UsageError(f"there is no audit log at {log}", hint="name it: `iac audit verify PATH`", code="no_log")
    found = walk(log)
    if as_json:
        output.print_json(
            {"path": str(log), "ok": found.ok, "records": found.records, "line": found.line, "reason": found.reason}
        )
        return int(Exit.OK if found.ok else Exit.FAILED)
    if not found.ok:
        where = f"{log}:{found.line}" if found.line else str(log)
        raise KarstError(f"{where}: {found.reason} ({found.records} records before it are whole)", code="broken_chain")
    click.echo(f"{log}: {found.records} records, the chain is whole")
    return int(Exit.OK)


@click.command()
@_JSON
def doctor(as_json: bool) -> int:
    """Say what this machine has, what is missing, and what `make bootstrap` would do; changes nothing."""
    from karst.toolchain import doctor as examination

    if not as_json:
        return examination.main()
    found = list(examination.examine())
    output.print_json([one._asdict() for one in found])
    return int(Exit.FAILED if any(one.state == examination.MISSING for one in found) else Exit.OK)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print what makes SHELL complete `iac`; put it where the shell reads it (docs/cli.md)."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"click has no completion for {shell}", code="no_shell")
    click.echo(kind(ctx.find_root().command, {}, "iac", "_IAC_COMPLETE").source())
    return int(Exit.OK)


@click.command()
@click.option("--email", metavar="ADDRESS", help="Who signs in; asked for otherwise.")
@click.option("--token", "paste", is_flag=True, help="Paste an access token instead of signing in.")
@click.pass_context
def login(ctx: click.Context, email: str | None, paste: bool) -> int:
    """Sign in to an admin app (--url, --socket; default http://127.0.0.1:8080), and keep the token, 0600."""
    from admin.cli.remote import login as signing

    return signing.login(_target(ctx), email=email, paste=paste)


@click.command()
@click.pass_context
def logout(ctx: click.Context) -> int:
    """End the session with an admin app, and forget the token."""
    from admin.cli.remote import login as signing

    return signing.logout(_target(ctx))


@click.command()
@click.argument("run", required=False)
def runs(run: str | None) -> int:
    """List the runs of an admin app (with --url or --socket)."""
    raise UsageError(
        "runs are kept by an admin app, and none is named",
        hint="for example `iac --url http://127.0.0.1:8080 runs`; here, `iac status` and `iac history`",
        code="no_target",
    )


COMMANDS = {command.name: command for command in (audit, doctor, completion, login, logout, runs) if command.name}


def _target(ctx: click.Context) -> Target | None:
    from admin.cli.remote.target import choose

    root = ctx.find_root()
    return choose(root.params.get("url"), root.params.get("socket"))
