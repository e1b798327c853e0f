"""`iac status`: what runs of a stack, what an earlier deploy left, who holds the stack, and how the last run ended.

From labels, Terraform's state and the runs' own notes; nothing is asked over the network. `iac health` asks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from admin.cli import lock, output
from karst import containers, leftovers, lockfile, state
from karst.containers import Member
from karst.errors import KarstError
from karst.files import write_atomic
from karst.stack import Stack

CURRENT, REPLACED, UNRECORDED = "current", "replaced", "unrecorded"
_NOTES = {
    REPLACED: "left by a deploy that did not finish; the next one removes it",
    UNRECORDED: "in no state; the next deploy removes it",
}


def note_run(stack: Stack, **facts: Any) -> None:
    """Remember how a run ended."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    write_atomic(stack.home / "last-run.json", json.dumps({"at": at, **facts}), mode=0o600)


def show(stack: Stack, *, as_json: bool) -> int:
    """Print the status; return the exit code."""
    with containers.engine() as docker:
        members = containers.members(docker, stack.name)
    found = collect(stack, members)
    if as_json:
        output.print_json(found)
    else:
        _print(found)
    return 0


def collect(stack: Stack, members: Sequence[Member]) -> dict[str, Any]:
    """The status as plain values (docs/plans.md has the form)."""
    last = _last_run(stack)
    with state.copy(stack) as path:
        known, replaced = leftovers.recorded(path), leftovers.deposed(path)
    held, rolled_back = last.get("held") or {}, _rolled_back(stack)
    pods: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        pods.setdefault((member.service, member.pod_id), []).append(member)
    rows = []
    for (service, pod_id), found in sorted(pods.items(), key=lambda pod: (pod[0][0], -pod[1][0].created)):
        place = CURRENT if pod_id in known.get("docker_container", set()) else UNRECORDED
        place = REPLACED if pod_id in replaced else place
        rows.append(
            {
                "service": service,
                "place": place,
                "revision": found[0].revision,
                "generation": found[0].generation,
                "created": min(member.created for member in found),
                "containers": {member.role: member.state for member in found},
                "held": str(held.get(service, {}).get("reason", "")),
                "rolled_back": service in rolled_back,
            }
        )
    return {
        "stack": stack.name,
        "holder": lock.holder(stack),
        "cut_off": stack.unfinished_file.exists(),
        "saved_plan": stack.plan_file.exists(),
        "last_run": {key: value for key, value in last.items() if key != "held"} or None,
        "services": rows,
    }


def _last_run(stack: Stack) -> dict[str, Any]:
    try:
        found = json.loads((stack.home / "last-run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _rolled_back(stack: Stack) -> set[str]:
    try:
        entries = lockfile.read(lockfile.lock_path(stack.list_file))
    except KarstError:
        return set()
    return {name for name, entry in entries.items() if entry.rollback}


def _print(found: Mapping[str, Any]) -> None:
    holder, last = found["holder"], found["last_run"]
    if holder:
        who = f"{holder.get('user', '?')}{'@' + holder['host'] if holder.get('host') else ''}"
        what = (
            f"Terraform ({holder['verb']}), without its iac," if holder["orphan"] else f"iac {holder.get('verb', '?')}"
        )
        click.echo(f"busy: {what} by {who} since {holder.get('since', '?')}")
    if last:
        error = f": {str(last['error']).splitlines()[0]}" if last.get("error") else ""
        click.echo(f"last run: iac {last.get('run')} at {last.get('at')}: {last.get('outcome')}{error}")
    if found["cut_off"] and not holder:
        click.echo("the last apply did not finish; `iac deploy` goes on from there")
    if found["saved_plan"]:
        click.echo("a plan is saved; `iac apply` applies it")
    if not found["services"]:
        click.echo("nothing runs; `iac deploy --file repos.yaml` deploys something")
        return
    rows = []
    for row in found["services"]:
        states = row["containers"]
        down = ", ".join(f"{role} {state}" for role, state in sorted(states.items()) if state != "running")
        notes = [_NOTES.get(row["place"], ""), "rolled back" if row["rolled_back"] else ""]
        notes += [f"held: {row['held'].splitlines()[0]}" if row["held"] else ""]
        cells = [row["service"], row["generation"][:12] or "-", row["revision"][:16] or "-", _age(row["created"])]
        rows.append([*cells, down or "running", "; ".join(filter(None, notes))])
    titles = ["SERVICE", "GENERATION", "REVISION", "AGE", "CONTAINERS", "NOTE"]
    widths = [max(len(str(line[i])) for line in [titles, *rows]) for i in range(len(titles))]
    for line in [titles, *rows]:
        click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _age(created: int) -> str:
    seconds = max(0, int(time.time()) - created)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
