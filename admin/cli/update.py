"""`iac update`: moves the lock file to the refs' newest commits."""

from __future__ import annotations

import click

from karst.stack import Stack


def move(stack: Stack, service: str | None) -> int:
    """Resolve the refs anew, of one service or all, and print what moved; return the exit code."""
    from karst.fetch import update
    from karst.lockfile import lock_path
    from karst.manifest import load_file

    services = load_file(stack.list_file)
    changes = update(services, stack.list_file.absolute().parent, lock_path(stack.list_file), service)
    for change in changes:
        click.echo(f"{change.name}: {change.before[:12] or '(new)'} -> {change.after[:12]} ({change.ref})")
    if not changes:
        click.echo("already at the newest commits")
    return 0
