"""`iac rollback`: back to an earlier generation of one service, through the same plan and the same gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from karst import containers, generations, lockfile, manifest
from karst.errors import Exit, KarstError, UsageError, did_you_mean
from karst.generations import FAILED, OK, Generation
from karst.lockfile import Locked

if TYPE_CHECKING:
    from admin.cli.run import Run

SHORTEST = 4


def roll_back(run: Run, service: str, to: str | None) -> int:
    """Write the older generation into the lock file and deploy it, and nothing else; return the exit code.

    When the gate does not let it through, the lock file is put back: what served before goes on serving.
    """
    stack = run.stack
    listed = {one.name: one for one in manifest.load_file(stack.list_file)}
    require_known(service, [*listed, *generations.services(stack.history_dir)], stack.name)
    if service not in listed:
        raise UsageError(
            f"`{service}` is no longer in {stack.list_file.name}", hint="put its entry back first", code="not_listed"
        )
    history = generations.read(stack.history_dir, service)
    target = choose(service, history, to)
    current = generations.last_good(history)
    if current and target.content == current.content and history[-1].outcome == OK:
        run.events.emit("log", line=f"{service} is at {target.revision} already")
        return int(Exit.OK)
    require_available(target, generations.distinct(history))
    path = lockfile.lock_path(stack.list_file)
    before = lockfile.read(path)
    lockfile.save(path, {service: locked(target, listed[service].slug)})
    run.holding.pin_others(service)
    try:
        return run.plan_and_apply()
    finally:
        # What was let through stays: somebody else's failing health is no reason to forget it.
        if run.record.outcomes.get(service) not in ("deployed", "unchanged"):
            put_back(path, service, before.get(service))


def choose(service: str, history: Sequence[Generation], to: str | None) -> Generation:
    """The one before this (after a refused one: what serves), or the newest that begins with ``to``."""
    past = generations.distinct(history)
    current = generations.last_good(history)
    if current is None:
        raise KarstError(f"{service} is not deployed", hint="`iac deploy` deploys it", code="not_deployed")
    if to is None and history[-1].outcome == FAILED:
        return current  # the newest is one that the gate refused: the way back from it is to what serves
    if to is None:
        at = next(index for index, one in enumerate(past) if one.content == current.content)
        if at + 1 == len(past):
            raise KarstError(
                f"{service} has nothing to roll back to: no generation was let through before this one",
                hint=f"`iac history {service}` lists what there is",
                code="no_previous",
            )
        return past[at + 1]
    names = [(one, word) for one in past for word in (one.revision, one.revision.removeprefix("dir-"), one.generation)]
    found = [one for one, word in names if word.startswith(to)] if len(to) >= SHORTEST else []
    if not found:
        known = dict.fromkeys(one.revision for one in past)
        hint = did_you_mean(to, known) or f"it was at {', '.join(revision[:16] for revision in known)}"
        raise UsageError(f"{service} was never let through at `{to[:80]}`", hint=hint, code="unknown_revision")
    if len({one.revision for one in found}) > 1:
        both = ", ".join(dict.fromkeys(one.revision for one in found))
        raise UsageError(f"`{to}` is the beginning of {both}", hint="write more of it", code="ambiguous_revision")
    return found[0]


def require_known(service: str, known: Sequence[str], stack: str) -> None:
    """UsageError for a service that neither the list nor a history knows."""
    names = sorted(set(known))
    if service not in names:
        hint = did_you_mean(service, names) or f"it has: {', '.join(names) or 'none'}"
        raise UsageError(f"stack `{stack}` has no service `{service[:60]}`", hint=hint, code="unknown_service")


def require_available(target: Generation, past: Sequence[Generation]) -> None:
    """KarstError when neither image nor source is left; a repository can be asked for its commit again."""
    if not target.fetched["slug"].startswith("dir:") or target.source.is_dir():
        return
    with containers.engine() as docker:
        if containers.has_image(docker, target.image):
            return
        there = [one.revision for one in past if one != target and containers.has_image(docker, one.image)]
    raise KarstError(
        f"{target.service} cannot go back to {target.revision}: its image and its snapshot are gone",
        hint=f"there are images of {', '.join(there)}" if there else "deploy the folder as it is",
        code="image_gone",
    )


def locked(target: Generation, slug: str) -> Locked:
    """The lock file's entry for a service that the list has under ``slug``."""
    return Locked(
        slug=slug,
        ref=target.fetched.get("ref", ""),
        revision=target.revision,
        tree=target.fetched.get("whole_tree") or target.fetched["tree"],
        rollback=target.generation,
        entry=json.dumps(target.entry, sort_keys=True),
    )


def put_back(path: Path, service: str, entry: Locked | None) -> None:
    """Give the lock file the entry that it had, or none."""
    others = {name: one for name, one in lockfile.read(path).items() if name != service}
    lockfile.save(path, others | ({service: entry} if entry else {}), keep=[*others, service] if entry else [*others])
