"""What the API shows of the running stack: services, logs, numbers. Read from Docker's labels and from the edge."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from karst.errors import KarstError, UsageError

if TYPE_CHECKING:
    from karst.containers import Member
    from karst.stack import Stack

Line = dict[str, str]
_QUEUE = 2000
_RELIST = 1.0


class NoSuchService(UsageError):
    """The stack has no service of that name."""


class StackView(Protocol):
    """What the routes need to know; the tests have their own."""

    def list_services(self) -> list[dict[str, Any]]:
        """One object a service: service, status, revision, reason, state and age of its containers."""

    def name(self) -> str:
        """What the stack is called."""

    def logs(self, service: str, *, tail: int, follow: bool, stop: Callable[[], bool]) -> Iterator[Line | None]:
        """Lines {service, ts, msg} in the order of time, of one service or of all (""); None while there are none."""

    def certificates(self) -> list[dict[str, Any]]:
        """One object an identity and a trusted authority (`ca`), as `iac certs --json` has them."""

    def graph(self) -> dict[str, Any]:
        """Nodes and edges, as `iac graph --json` has them."""

    def stats(self, service: str) -> dict[str, Any]:
        """Numbers of the service's sidecar, by Envoy's names."""


class LiveStack:
    """The stack that the environment names, on the Docker engine that DOCKER_HOST names."""

    def name(self) -> str:
        return _stack().name

    def graph(self) -> dict[str, Any]:
        from karst import graph

        return graph.build(_stack())

    def certificates(self) -> list[dict[str, Any]]:
        from admin.cli.certs import store_of
        from karst.identity import inventory, served

        stack = _stack()
        store = store_of(stack)
        if not (store.root / "mesh").is_dir():
            return []
        known = inventory.identities(store)
        try:
            seen = served.ask(stack, served.running(stack), known)
        except KarstError:
            seen = None  # each row says that nobody could be asked
        return [row.to_dict() for row in inventory.rows(store, known, seen)]

    def list_services(self) -> list[dict[str, Any]]:
        from karst import containers, health

        stack = _stack()
        with containers.engine() as docker:
            every = containers.deployed(containers.members(docker, stack.name))
        found = [m for m in every if m.role in ("pod", "app", "sidecar")]
        names = sorted({member.service for member in found})
        answers = {row.service: row for row in health.ask(stack, names)} if names else {}
        return [_row(name, answers.get(name), [m for m in found if m.service == name]) for name in names]

    def logs(self, service: str, *, tail: int, follow: bool, stop: Callable[[], bool]) -> Iterator[Line | None]:
        from karst import containers

        stack = _stack()
        with containers.engine() as docker:
            apps = _apps(docker, stack, service)
            if not follow:
                lines = [line for app in apps for line in _past(docker, app, tail) if not is_span(line)]
                yield from sorted(lines, key=lambda line: line["ts"])[-tail:] if tail else []
                return
            yield from self._follow(docker, stack, service, tail, stop)

    def _follow(
        self, docker: Any, stack: Stack, service: str, tail: int, stop: Callable[[], bool]
    ) -> Iterator[Line | None]:
        from karst import containers

        incoming: queue.Queue[Line] = queue.Queue(maxsize=_QUEUE)
        pumps: dict[str, _Pump] = {}
        listed = float("-inf")
        try:
            while not stop():
                if time.monotonic() - listed >= _RELIST:
                    listed = time.monotonic()
                    # Of a generation that comes later every line is new.
                    lines = "all" if pumps and tail else tail
                    for app in (m for m in containers.members(docker, stack.name, service) if m.role == "app"):
                        if app.id not in pumps:
                            pumps[app.id] = _Pump(app, lines, incoming)
                try:
                    yield incoming.get(timeout=0.2)
                except queue.Empty:
                    yield None
        finally:
            for pump in pumps.values():
                pump.close()

    def stats(self, service: str) -> dict[str, Any]:
        from karst import containers, stats

        stack = _stack()
        with containers.engine() as docker:
            _apps(docker, stack, service)
            pods = stats.pods_of(containers.members(docker, stack.name, service)).get(service, [])
        seen = [stats.parse_stats(stats.read(stack, service, pod=pod)) for pod in (pods if len(pods) > 1 else [""])]
        whole = stats.together([stats.Sample(numbers=numbers) for numbers in seen])
        return {"service": service, "stats": dict(whole.numbers) if whole else {}}


def _stack() -> Stack:
    from karst.stack import resolve

    return resolve()


def _apps(docker: Any, stack: Stack, service: str) -> list[Member]:
    from karst import containers

    apps = [m for m in containers.members(docker, stack.name, service) if m.role == "app"]
    if service and not apps:
        raise NoSuchService(f"the stack has no service `{service[:60]}`", code="unknown_service")
    return apps


def _row(name: str, answer: Any, members: list[Member]) -> dict[str, Any]:
    newest = max(members, key=lambda member: member.created)
    row: dict[str, Any] = {"status": "UNKNOWN", "revision": newest.revision, "reason": "no answer"}
    if answer is not None:
        row.update({key: value for key, value in asdict(answer).items() if value not in (None, "")})
        row["reason"] = answer.reason
    row.update(service=name, created=newest.created, generations=len({member.generation for member in members}))
    row["containers"] = [{"role": m.role, "state": m.state, "created": m.created} for m in members]
    return row


def _past(docker: Any, app: Member, tail: int) -> list[Line]:
    raw = docker.api.logs(app.id, timestamps=True, tail=tail, stdout=True, stderr=True)
    return [_line(app.service, line) for line in raw.decode("utf-8", "replace").splitlines()]


def _line(service: str, text: str) -> Line:
    stamp, _, message = text.partition(" ")
    return {"service": service, "ts": stamp, "msg": message}


def is_span(line: Line) -> bool:
    """Whether this is a trace, which shares the container's stdout with what the app prints."""
    return line["msg"].startswith('{"resourceSpans":')


class _Pump:
    """Reads the log of one container on a connection and a thread of its own; a followed log blocks both."""

    def __init__(self, app: Member, tail: int | str, sink: queue.Queue[Line]) -> None:
        self._app, self._tail, self._sink = app, tail, sink
        self._closed = threading.Event()
        self._stream: Any = None
        threading.Thread(target=self._run, name="log-pump", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        from karst import containers

        try:
            with containers.engine() as docker:
                self._stream = docker.api.logs(self._app.id, stream=True, follow=True, timestamps=True, tail=self._tail)
                rest = b""
                for chunk in self._stream:
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in (_line(self._app.service, raw.decode("utf-8", "replace")) for raw in whole):
                        if not is_span(line):
                            self._put(line)
                    if self._closed.is_set():
                        return
        except Exception:
            return

    def _put(self, line: Line) -> None:
        while not self._closed.is_set():
            try:
                self._sink.put(line, timeout=0.5)
                return
            except queue.Full:
                continue
