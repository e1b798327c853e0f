"""How the services are at the end of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from karst import containers
from karst.events import Events
from karst.health import ask
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.containers import Member
    from karst.probe import Health


def ask_all(stack: Stack, events: Events, patience: float = 10, members: list[Member] | None = None) -> list[Health]:
    """Bring keys where they are missing, then ask every service.

    ``patience``: seconds that a service may take to become healthy. ``members`` are the stack's containers, newest
    first, from a run that knows them already.
    """
    listed = members
    if members is None or any(m.role == "pod" and m.mounts for m in members):
        from karst import deliver

        with containers.engine() as docker:  # a host that was started again since has none of its keys
            listed = containers.members(docker, stack.name) if members is None else members
            brought = deliver.deliver(docker, deliver.parcels(listed, stack.secrets_dir))
        if brought:
            events.emit("log", line=f"brought keys to {', '.join(sorted(one.service for one in brought))}")
    with events.phase("health"):
        # A service that has just been let through may still be moving in DNS; one that is down stays down.
        deadline = time.monotonic() + patience
        answers = ask(stack, listed=listed)
        while not all(answer.whole for answer in answers) and time.monotonic() < deadline:
            time.sleep(0.5)
            answers = ask(stack)
    return answers
