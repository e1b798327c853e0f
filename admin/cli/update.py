"""`iac update`: moves the lock file to the refs' newest commits."""

from __future__ import annotations

import click

from karst.stack import Stack


def move(stack: Stack, service: str | None) -> int:
    """Resolve the refs anew, of one service or all, and print what moved; return the exit code."""
    from karst.fetch import rolled_back, update
    from karst.lockfile import lock_path, read
    from karst.manifest import load_file

    services = load_file(stack.list_file)
    before = read(lock_path(stack.list_file))
    changes = update(services, stack.list_file.absolute().parent, lock_path(stack.list_file), service)
    for change in changes:
        where = change.ref or "the folder as it is"
        click.echo(f"{change.name}: {change.before[:16] or '(new)'} -> {change.after[:16]} ({where})")
    entries = read(lock_path(stack.list_file))
    for one in services:
        if rolled_back(one, entries.get(one.name)):
            revision = entries[one.name].revision
            click.echo(f"{one.name}: stays rolled back at {revision[:16]}; `iac update {one.name}` goes on from there")
        elif rolled_back(one, before.get(one.name)):
            click.echo(f"{one.name}: no longer rolled back; the next deploy goes by the list")
    if not changes:
        click.echo("already at the newest commits")
    return 0
