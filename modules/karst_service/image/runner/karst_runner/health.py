"""What the runner says about the app, shared between the thread that decides it and those that are asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

# The names and numbers of HealthStatus.Status and .Kind; spelled out so that the supervisor starts without protobuf.
UNKNOWN, SERVING, NOT_SERVING, STARTING, COMPLETED, FAILED = range(6)
STATUS_NAMES = ("UNKNOWN", "SERVING", "NOT_SERVING", "STARTING", "COMPLETED", "FAILED")
UNDECIDED, SERVER, JOB, WORKER = range(4)
HEALTHY = frozenset({SERVING, COMPLETED})


@dataclass(frozen=True)
class Health:
    status: int = STARTING
    reason: str = ""
    exit_code: int | None = None
    app_port: int = 0
    kind: int = UNDECIDED
    restarts: int = 0
    since_ns: int = field(default_factory=time.time_ns)


class Board:
    """Holds the current Health and tells listeners when its status changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._health = Health()
        self._listeners: list[Callable[[Health], None]] = []

    @property
    def health(self) -> Health:
        return self._health

    def subscribe(self, listener: Callable[[Health], None]) -> None:
        """Call ``listener`` with the current health now, and whenever the status changes."""
        with self._lock:
            self._listeners.append(listener)
            listener(self._health)

    def update(self, **changes: object) -> bool:
        """Change fields; returns whether the status is another one now."""
        with self._lock:
            old = self._health
            new = replace(old, **changes)  # type: ignore[arg-type]
            changed = new.status != old.status
            self._health = replace(new, since_ns=time.time_ns()) if changed else new
            if changed:
                for listener in self._listeners:
                    listener(self._health)
            return changed
