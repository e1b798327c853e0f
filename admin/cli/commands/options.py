"""Options that several commands share, and the stack that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from karst import stack as stacks
from karst.stack import Stack


def list_file(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--file", "-f", "list_file", metavar="FILE", help="YAML or JSON list of slugs (default repos.yaml)."
    )(command)


def ports(command: Callable[..., Any]) -> Callable[..., Any]:
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


JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
EVENTS = click.option("--events", is_flag=True, help="Events as JSON lines on stdout, the last one `result`.")
RESULT = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout; progress on stderr.")
WAIT = click.option(
    "--lock-wait", "wait", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Wait for another run to end."
)
WHOLE = click.option(
    "--all-or-nothing",
    "whole",
    is_flag=True,
    envvar="KARST_ALL_OR_NOTHING",
    help="Fail when one service cannot be had, instead of holding it at its last good generation.",
)
REFRESH = click.option(
    "--refresh", "--no-fast-path", "refresh", is_flag=True, help="Plan even when nothing seems to have changed."
)
YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def resolve(stack: str | None, **settings: Any) -> Stack:
    """The stack of this name, or of the settings."""
    return stacks.resolve(name=stack, **settings)
