"""What goes, or has to be kept, before and after an apply: karst.leftovers says what an earlier, killed run left."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from karst import containers, kept_logs, leftovers, plans, state
from karst.events import Events
from karst.stack import Stack


def before_apply(stack: Stack, events: Events) -> None:
    """After a Terraform that was killed: what it made without a record of it can have a name that is needed now."""
    if stack.remote_state:  # what is new and in no state may be somebody else's deploy
        return
    try:
        since = float(stack.unfinished_file.read_text())
    except (OSError, ValueError):
        return
    with containers.engine() as docker:
        _tell(events, leftovers.clear_the_way(docker, stack.name, stack.state_file, since))


def keep_logs(stack: Stack, plan: dict[str, Any]) -> None:
    """Keep the logs of services that left the list: no gate runs for them."""
    gone = [name for name, entry in plans.summarize(plan).items() if name and entry["action"] == "destroy"]
    if not gone:
        return
    with containers.engine() as connection:
        for member in containers.members(connection, stack.name):
            if member.role == "app" and member.service in gone:
                kept_logs.keep(connection, member, stack.log_dir)


def after_apply(stack: Stack, events: Events) -> None:
    """Remove the stack's containers that are in no state: they are on the network, and could get requests."""
    before = time.time() - leftovers.SOMEBODYS_SECONDS if stack.remote_state else float("inf")
    with containers.engine() as docker, state.copy(stack) as path:
        _tell(events, leftovers.sweep(docker, stack.name, path, before))


def by_label(stack: Stack, *, images: bool) -> int:
    """Remove every container and network that carries the stack's label, and its images; return how many containers."""
    import docker.errors

    with containers.engine() as connection:
        members = containers.members(connection, stack.name)
        leftovers.remove(connection, members)
        label = {"label": [f"{containers.STACK}={stack.name}"]}
        for network in connection.api.networks(filters=label):
            with contextlib.suppress(docker.errors.APIError):
                connection.api.remove_network(network["Id"])
        for image in connection.api.images(filters=label) if images else ():
            for tag in image.get("RepoTags") or [image["Id"]]:
                with contextlib.suppress(docker.errors.APIError):
                    connection.api.remove_image(tag)
    stack.unfinished_file.unlink(missing_ok=True)
    return len(members)


def without_state(stack: Stack, events: Events, *, images: bool) -> None:
    """What a destroy does where there is no state: everything by label, and a line that says so."""
    removed = by_label(stack, images=images)
    told = f": there is no state of it; removed {removed} containers by their label" if removed else " is not deployed"
    events.emit("log", line=f"stack `{stack.name}`{told}")


def _tell(events: Events, removed: list[str]) -> None:
    if removed:
        events.emit("log", line=f"removed what a killed deploy left without a record: {', '.join(removed)}")
