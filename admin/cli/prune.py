"""`iac prune`: removes what no service needs and no rollback goes back to, and says how many bytes that were."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click

from admin.cli import output
from admin.cli.lock import exclusive
from karst import containers, prune
from karst.errors import Exit
from karst.stack import Stack


def run(stack: Stack, *, keep: int, unused: float, dry_run: bool, as_json: bool, wait: float = 0) -> int:
    """Find it, remove it unless ``dry_run``, and print it; return the exit code."""
    with exclusive(stack, "prune", wait=wait), containers.engine() as docker:
        found = prune.find(stack, docker, keep=keep, unused=unused)
        done = found if dry_run else prune.remove(found, docker)
    total = sum(one.size for one in done)
    if as_json:
        output.print_json({"dry_run": dry_run, "bytes": total, "removed": [asdict(one) for one in done]})
        return int(Exit.OK)
    if rows := _rows(done):
        output.table(("KIND", "WHAT", "SIZE"), rows)
    would = "would free" if dry_run else "freed"
    click.echo(f"{would} {_size(total)}" if rows else "nothing to remove")
    if left := len(found) - len(done):
        click.echo(f"{left} could not be removed: in use by now, or not ours to remove", err=True)
    return int(Exit.OK)


def _rows(found: list[prune.Removal]) -> list[tuple[str, str, str]]:
    """Each image, and one row for each kind of cache entries."""
    rows = [(one.kind, one.name, _size(one.size)) for one in found if one.kind == "image"]
    count, size = Counter(one.kind for one in found), Counter[str]()
    for one in found:
        size[one.kind] += one.size
    return rows + [
        (kind, f"{count[kind]} cache entries", _size(size[kind]))
        for kind in prune.KINDS
        if kind in count and kind != "image"
    ]


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
