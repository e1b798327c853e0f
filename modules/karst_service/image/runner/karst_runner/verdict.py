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
    listeners: Sequence[Listener]  # the app's own, in the order in which they were first seen
    quiet: bool = False  # has hardly used the processor for a while
    probe: str | None = None  # None: not asked yet; "": passed; else what went wrong
    was_serving: bool = False
    port: int = 0  # the port decided on before


class Verdict(NamedTuple):
    status: int
    kind: int
    port: int
    reason: str = ""


def choose_port(settings: Settings, wanted: int, seen: Seen) -> Listener | None:
    """Return the listener that is the app's door: `port:`, else PORT, else the one chosen before, else the first seen.

    Of those first seen, one below the ephemeral range wins: ports that the kernel picked belong to helpers
    (multiprocessing managers, kernels, test servers), hardly ever to the service.
    """
    reachable = [listener for listener in seen.listeners if listener.reachable]
    if settings.port is not None:
        return next((listener for listener in reachable if listener.port == settings.port), None)
    for port in (wanted, seen.port):
        for listener in reachable:
            if listener.port == port:
                return listener
    return next((listener for listener in reachable if not ephemeral(listener.port)), next(iter(reachable), None))


def ephemeral(port: int) -> bool:
    """Whether the kernel may have picked this port by itself (the default of net.ipv4.ip_local_port_range)."""
    return 32768 <= port <= 60999


def judge(settings: Settings, wanted: int, seen: Seen) -> Verdict:
    """Decide how a running app is. ``wanted`` is the PORT it was given."""
    door = choose_port(settings, wanted, seen)
    if door is not None:
        return _judge_server(settings, seen, door.port)
    if seen.was_serving and seen.port:
        return Verdict(NOT_SERVING, SERVER, seen.port, f"nothing listens on port {seen.port} any more")
    if settings.port is not None or settings.health or settings.kind == "server" or seen.listeners:
        return Verdict(STARTING, UNDECIDED, 0, _waiting(settings, seen))
    if (seen.quiet and seen.uptime >= settings.worker_after) or seen.uptime >= settings.worker_limit:
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
    elsewhere = [listener for listener in seen.listeners if listener.port != settings.port]
    where = f"on port {settings.port}" if settings.port is not None else "on a port"
    if settings.port is not None and elsewhere:
        return f"listens on port {elsewhere[0].port}, but `port:` says {settings.port}"
    if elsewhere:
        return f"listens on {elsewhere[0].address} only: let it bind 127.0.0.1 or 0.0.0.0 (it is told so by HOST)"
    return (
        f"does not listen {where} yet"
        if settings.port or settings.health or settings.kind == "server"
        else "is starting"
    )
