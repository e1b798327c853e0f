"""`iac history`: every generation of a service that was tried, newest first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from admin.cli import output
from admin.cli.rollback import require_known
from karst import containers, generations
from karst.errors import Exit, KarstError
from karst.generations import OK
from karst.stack import Stack


def show(stack: Stack, service: str, *, as_json: bool) -> int:
    """Print it; return the exit code."""
    known = generations.services(stack.history_dir)
    require_known(service, known, stack.name)
    found = rows(stack, service)
    if as_json:
        output.print_json(found)
        return int(Exit.OK)
    words = {True: "there", False: "gone", None: ""}
    output.table(
        ("", "WHEN", "REVISION", "GENERATION", "OUTCOME", "RUN", "BY", "IMAGE"),
        [
            (
                *("*" if row["current"] else "", row["at"], row["revision"][:16], row["generation"], row["outcome"]),
                *(row["run"], row["by"], words[row["image_present"] if row["image"] else None]),
            )
            for row in found
        ],
    )
    return int(Exit.OK)


def rows(stack: Stack, service: str) -> list[dict[str, Any]]:
    """Newest first. ``current`` marks the one that serves, ``image_present`` is None without an engine to ask."""
    history = generations.read(stack.history_dir, service)
    there = _images(stack, service)
    good = generations.last_good(history)
    result = []
    for one in reversed(history):
        row = {k: v for k, v in asdict(one).items() if k not in ("fetched", "detection", "rendered")}
        row["entry"] = one.entry if one.outcome == OK else None
        row["image_present"] = None if there is None else one.image in there
        row["current"] = one is good
        result.append(row)
    return result


def _images(stack: Stack, service: str) -> set[str] | None:
    try:
        with containers.engine() as docker:
            wanted = [f"{containers.STACK}={stack.name}", f"{containers.SERVICE}={service}"]
            images = docker.api.images(filters={"label": wanted})
    except KarstError:
        return None
    return {tag for image in images for tag in image.get("RepoTags") or []}
