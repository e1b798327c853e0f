"""The `iac` command: which commands there are here and from afar, `.env`, and what becomes of errors."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from admin.cli import extras
from admin.cli.certs import certs
from admin.cli.commands import change, keep, look
from karst.errors import Exit, KarstError, UsageError, did_you_mean
from karst.external import internal_error


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


for command in (*change.COMMANDS, *look.COMMANDS, *keep.COMMANDS, certs, *extras.COMMANDS.values()):
    cli.add_command(command)
# What does not ask which stack it is about, or finds the admin app by itself.
ANYWHERE = frozenset({*extras.COMMANDS, "detect"} - {"runs"})


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
