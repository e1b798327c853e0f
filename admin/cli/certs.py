"""`iac certs`: who has which certificate until when, whether it is in use, and new ones."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from karst.errors import Exit, KarstError, UsageError
from karst.stack import Stack, resolve

if TYPE_CHECKING:
    from karst.identity.inventory import Row
    from karst.identity.store import Store

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_SECRETS = click.option("--secrets-dir", metavar="DIR", help="Folder of CA and identities (KARST_SECRETS_DIR).")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_WAIT = click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds to wait until all that runs uses what is new.",
)


@click.group(invoke_without_command=True)
@_JSON
@click.option("--check", is_flag=True, help="Exit 5 when one is expired, due, or not the one in use.")
@_SECRETS
@click.pass_context
def certs(ctx: click.Context, as_json: bool, check: bool, secrets_dir: str | None) -> int:
    """List certificates: whose, until when, whether due, whether in use; exit 0."""
    ctx.meta["secrets_dir"] = secrets_dir
    if ctx.invoked_subcommand is not None:
        return int(Exit.OK)
    return show(resolve(name=ctx.obj, secrets_dir=secrets_dir), as_json=as_json, check=check)


@certs.result_callback()
def _code(result: int, **_: Any) -> int:
    return result


@certs.command()
@click.argument("services", nargs=-1)
@_JSON
@click.option("--ca", "authority", is_flag=True, help="Replace the authority, and then every certificate.")
@click.option("--ca-cert", metavar="FILE", type=_FILE, help="With --ca: the new authority, when it is one of your own.")
@click.option("--ca-key", metavar="FILE", type=_FILE, help="With --ca: its key.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_WAIT
@_SECRETS
@click.pass_context
def rotate(
    ctx: click.Context,
    services: tuple[str, ...],
    authority: bool,
    ca_cert: Path | None,
    ca_key: Path | None,
    as_json: bool,
    yes: bool,
    timeout: float,
    secrets_dir: str | None,
) -> int:
    """Issue new certificates now (of SERVICES, or of all), and wait until they are in use.

    With --ca the authority is replaced without a failed request: trust both, issue from the new one, drop the old one,
    each step seen in every running Envoy before the next begins. Killed at any point, the same command goes on.
    """
    stack = resolve(name=ctx.obj, secrets_dir=secrets_dir or ctx.meta["secrets_dir"])
    if not authority:
        from karst.identity import rotate as work

        if ca_cert or ca_key:
            raise UsageError("--ca-cert and --ca-key belong to --ca", code="bad_option")
        work.leaves(stack, store_of(stack), services, say=_say, timeout=timeout)
        return show(stack, as_json=as_json, check=False)
    from karst.identity.ca_rotation import Rotation

    if services:
        raise UsageError("--ca replaces the certificates of all: name no service", code="bad_option")
    if (ca_cert is None) is not (ca_key is None):
        raise UsageError("--ca-cert and --ca-key go together", code="bad_option")
    if not yes and sys.stdin.isatty():
        click.confirm(f"Replace the authority in {stack.secrets_dir}, and every certificate?", abort=True)
    rotation = Rotation(stack, store_of(stack), say=_say, timeout=timeout)
    rotation.run((ca_cert, ca_key) if ca_cert and ca_key else None)
    return show(stack, as_json=as_json, check=False)


@certs.command()
@_JSON
@_SECRETS
@click.pass_context
def renew(ctx: click.Context, as_json: bool, secrets_dir: str | None) -> int:
    """Issue anew what is due, and nothing else: for a timer. Needs no Docker, unless that is on another machine."""
    from karst import containers, deliver
    from karst.identity import inventory

    stack = resolve(name=ctx.obj, secrets_dir=secrets_dir or ctx.meta["secrets_dir"])
    store = store_of(stack)
    known = inventory.identities(store)
    with store.locked():
        before = {one.name: leaf.fingerprint for one in known if (leaf := store.leaf(one))}
        issued = store.ensure(known)
    if stack.uploads:
        with containers.engine() as docker:
            deliver.to_stack(docker, stack.name, store.root)
    renewed = [one for one in issued if before.get(one.identity.name) != one.fingerprint]
    if as_json:
        from admin.cli import output

        rows = [{"name": one.identity.name, **one.to_dict(), "renewed": one in renewed} for one in issued]
        output.print_json({"stack": stack.name, "identities": rows})
    else:
        for one in renewed:
            click.echo(f"{one.identity.name}: new certificate until {one.not_after:%Y-%m-%d %H:%M} UTC")
        first = min(issued, key=lambda one: one.not_after)
        end = f"{first.identity.name}, {first.not_after:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{len(renewed)} of {len(issued)} renewed; the first to end is {end}")
    return int(Exit.OK)


def show(stack: Stack, *, as_json: bool, check: bool) -> int:
    """Print the list; the exit code is 5 only with ``check``."""
    from karst.identity import inventory, served
    from karst.identity.store import pending

    store = store_of(stack)
    step = pending(store.root)
    known = inventory.identities(store)
    try:
        seen = served.ask(stack, served.running(stack), known)
    except KarstError as err:
        click.echo(f"iac: what is in use could not be asked: {err.message}", err=True)
        seen = None
    rows = inventory.rows(store, known, seen)
    fine = not step and all(row.fine for row in rows)
    if as_json:
        from admin.cli import output

        authorities = [row.to_dict() for row in rows if row.name == "ca"]
        output.print_json(
            {
                "stack": stack.name,
                "secrets_dir": str(stack.secrets_dir),
                "identities": [row.to_dict() for row in rows if row.name != "ca"],
                "authorities": authorities,
                "rotation": step or None,
            }
        )
    else:
        _table(rows)
    if step:
        click.echo(f"iac: a change of the authority stands at `{step}`: `iac certs rotate --ca` finishes it", err=True)
    return int(Exit.UNHEALTHY if check and not fine else Exit.OK)


def store_of(stack: Stack) -> Store:
    """The stack's secrets folder, with the lifetime of the environment, else that of the last deploy."""
    from karst.identity.settings import VARIABLE, lifetime
    from karst.identity.store import Store

    last = ""
    if not os.environ.get(VARIABLE):
        try:
            last = str(json.loads(stack.variables_file.read_text()).get("cert_lifetime") or "")
        except (OSError, ValueError, AttributeError):
            last = ""
    return Store(stack.secrets_dir, lifetime=lifetime(last))


def _say(line: str) -> None:
    click.echo(f"   {line}", err=True)


def _table(rows: list[Row]) -> None:
    """Print one line a certificate."""
    from rich.table import Table
    from rich.text import Text

    from admin.cli import output

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAME", "SPIFFE ID", "ISSUER", "FINGERPRINT", "NOT AFTER", "LEFT", "IN USE", "REMARK"):
        table.add_column(column, no_wrap=column != "REMARK")
    for row in rows:
        color = "" if row.fine else "red"
        remark = "; ".join(filter(None, (row.due and f"due: {row.due}", row.note)))
        table.add_row(
            row.name,
            row.uri or "-",
            row.issuer[:40],
            row.fingerprint[:12],
            row.not_after,
            _left(row.seconds_left),
            Text(row.served, style=color),
            Text(remark, style=color),
        )
    screen = output.console()
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as text:
        screen.print(table)
    sys.stdout.write("\n".join(line.rstrip() for line in text.get().splitlines()) + "\n")


def _left(seconds: int) -> str:
    """``6d 23h``, ``5h 12m``, ``expired``."""
    if seconds <= 0:
        return "expired"
    minutes = seconds // 60
    if minutes >= 48 * 60:
        return f"{minutes // 1440}d {minutes % 1440 // 60}h"
    return f"{minutes // 60}h {minutes % 60}m"
