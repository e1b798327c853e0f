"""Notices that the pod's network has died, and ends the container so that it joins the new one.

The network belongs to the pod's container. When that one is killed alone, Docker starts it again with another network,
and the app goes on in the old one, where nobody can reach it, and looks well. A restart joins the new network.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

ROUTES = "/proc/net/route"
EVERY = 2.0
# Joining a container that is itself just starting fails, and Docker does not try that again: so let it come up first.
PATIENCE = 5.0


def attached(routes: str = ROUTES) -> bool:
    """Whether any device but loopback has a route; True when the kernel does not tell."""
    try:
        with open(routes, encoding="ascii") as table:
            return any(line.split(None, 1)[0] not in ("Iface", "lo") for line in table if line.strip())
    except OSError:
        return True


class Watch(threading.Thread):
    """Sends this process one SIGTERM some seconds after its network was lost; never where it had none at the start."""

    def __init__(self, say: Callable[[str], None], *, every: float = EVERY, patience: float = PATIENCE) -> None:
        super().__init__(name="network-watch", daemon=True)
        self._say, self._every, self._patience = say, every, patience

    def run(self) -> None:
        if not attached():
            return
        while attached():
            time.sleep(self._every)
        self._say("the pod's network is gone: starting again to join the new one")
        time.sleep(self._patience)
        os.kill(os.getpid(), signal.SIGTERM)
