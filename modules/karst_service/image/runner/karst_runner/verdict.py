"""From what is seen of a running app to its status: one pure function, so that every rule can be tested by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .health import NOT_SERVING, SERVER, SERVING, STARTING, UNDECIDED, WORKER
from .settings import Settings
from .sockets import Listener


class Seen(NamedTuple):
    """What the supervisor knows about the running app."""

    uptime: float
    listeners: Sequence[Listener]  # the app's own
    quiet: bool = False  # has hardly used the processor for a while
    probe: str | None = None  # None: not asked yet; "": passed; else what went wrong
    was_serving: bool = False
    port: int = 0  # the port decided on before


class Verdict(NamedTuple):
    status: int
    kind: int
    port: int
    reason: str = ""


def choose_door(settings: Settings, wanted: int, seen: Seen) -> Listener | None:
    """Return the listener that is the app's door: `port:`, else PORT, else the one chosen before, else the lowest.

    The sidecar's start script goes by the same rule, in the same network namespace. The lowest, because ports that the
    kernel picked belong to helpers (multiprocessing managers, notebooks' kernels), hardly ever to the service.
    """
    ports = (wanted, seen.port) if settings.port is None else (settings.port,)
    for port in ports:
        for listener in seen.listeners:
            if listener.port == port:
                return listener
    return min(seen.listeners, default=None) if settings.port is None else None


def ephemeral(port: int) -> bool:
    """Whether the kernel may have picked this port by itself (the default of net.ipv4.ip_local_port_range)."""
    return 32768 <= port <= 60999


def judge(settings: Settings, wanted: int, seen: Seen) -> Verdict:
    """Decide how a running app is. ``wanted`` is the PORT it was given."""
    taken = next((listener.port for listener in seen.listeners if listener.port in settings.kit_ports), 0)
    if taken:
        return Verdict(NOT_SERVING, SERVER, 0, f"listens on port {taken}, which is the kit's: let it take another one")
    door = choose_door(settings, wanted, seen)
    if door is not None:
        return _judge_server(settings, seen, door.port)
    if seen.was_serving and seen.port:
        return Verdict(NOT_SERVING, SERVER, seen.port, f"nothing listens on port {seen.port} any more")
    if settings.port is not None or settings.health:
        return Verdict(STARTING, UNDECIDED, 0, _waiting(settings, seen))
    settled = seen.quiet and seen.uptime >= settings.worker_after and settings.kind != "server"
    if settled or seen.uptime >= settings.worker_limit:
        return Verdict(SERVING, WORKER, 0, "runs, and listens on no port")
    return Verdict(STARTING, UNDECIDED, 0, _waiting(settings, seen))


def _judge_server(settings: Settings, seen: Seen, port: int) -> Verdict:
    if settings.health:
        if seen.probe == "":
            return Verdict(SERVING, SERVER, port)
        reason = f"GET {settings.health} {seen.probe or 'has not been answered yet'}"
        return Verdict(NOT_SERVING if seen.was_serving else STARTING, SERVER, port, reason)
    if seen.uptime < settings.stable_after:
        return Verdict(STARTING, SERVER, port, "listens, and has not been up for long yet")
    return Verdict(SERVING, SERVER, port)


def _waiting(settings: Settings, seen: Seen) -> str:
    if settings.port is not None:
        if seen.listeners:
            return f"listens on port {min(seen.listeners).port}, but `port:` says {settings.port}"
        return f"does not listen on port {settings.port} yet"
    return "does not listen on a port yet" if settings.health or settings.kind == "server" else "is starting"
