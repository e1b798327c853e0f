"""`iac update`: moves the lock file to the refs' newest commits."""

from __future__ import annotations

import click

from karst.stack import Stack


def move(stack: Stack, service: str | None) -> int:
    """Resolve the refs anew, of one service or all, and print what moved; return the exit code."""
    from karst.lockfile import update

    moved = update(stack.list_file, service)
    for name, (before, after) in sorted(moved.items()):
        click.echo(f"{name}: {before[:12] or '(new)'} -> {after[:12]}")
    if not moved:
        click.echo("already at the newest commits")
    return 0
