"""The lines that `iac logs` shows: of containers that are there, and of those whose log was kept when they went."""

from __future__ import annotations

import heapq
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from karst import containers, kept_logs
from karst.errors import UsageError
from karst.stack import Stack

POLL_SECONDS = 1.0


class Line(NamedTuple):
    """One line; they sort by time, which is text of one width (RFC 3339 with nanoseconds, UTC)."""

    stamp: str
    service: str
    text: str
    generation: str
    revision: str
    container: str = ""


@dataclass(frozen=True)
class Query:
    """Which lines.

    Attributes:
        services: their names.
        tail: how many lines of each to begin with.
        since: seconds since the epoch of the oldest line; 0 for all.
        grep: what a line must match.
        traces: whether spans are wanted, which share the container's stdout with what the app prints.
        generation: beginning of the generation or revision wanted; "" for all.
        previous: only the generation before the newest.
    """

    services: tuple[str, ...]
    tail: int = 200
    since: float = 0.0
    grep: re.Pattern[str] | None = None
    traces: bool = False
    generation: str = ""
    previous: bool = False

    def wants(self, line: Line) -> bool:
        if not self.traces and line.text.startswith(kept_logs.SPANS):
            return False
        return self.grep is None or self.grep.search(line.text) is not None


@dataclass(frozen=True)
class Source:
    """One generation's log: of a container, or of the file that is left of one."""

    service: str
    created: int
    generation: str
    revision: str
    container: str
    read: Callable[[], Iterator[str]]
    end: kept_logs.Kept | None = None


def past(connection: Any, stack: Stack, query: Query) -> Iterator[Line]:
    """Yield the last lines of every service, merged in the order of time."""
    streams = []
    for service in query.services:
        found: deque[Line] = deque(maxlen=query.tail)
        chosen = chosen_sources(sources(connection, stack, query, service), query, service)
        found.extend(heapq.merge(*(_lines(source, query) for source in chosen)))
        streams.append(found)
    yield from heapq.merge(*streams)


def sources(connection: Any, stack: Stack, query: Query, service: str) -> list[Source]:
    """The logs there are of a service, oldest first; a container that is there counts, not what was kept of it."""
    apps = [m for m in containers.members(connection, stack.name, service) if m.role == "app"]
    there = {app.id for app in apps}
    found = [
        Source(service, kept.created, kept.generation, kept.revision, kept.container, _reader(path), kept)
        for kept, path in kept_logs.read(stack.log_dir, service)
        if kept.container not in there
    ]
    for app in apps:
        read = _docker_reader(connection, app.id, query)
        found.append(Source(service, app.created, app.generation, app.revision, app.id, read))
    return sorted(found, key=lambda source: source.created)


def chosen_sources(found: list[Source], query: Query, service: str) -> list[Source]:
    """Those of the generation that was asked for; UsageError when there is none."""
    if query.previous:
        order = list(dict.fromkeys(source.generation for source in reversed(found)))
        if len(order) < 2:
            raise UsageError(
                f"nothing is left of a generation of `{service}` before the one that is there",
                hint="logs are kept when a generation is replaced or refused",
                code="no_generation",
            )
        return [source for source in found if source.generation == order[1]]
    if query.generation:
        chosen = [
            s for s in found if s.generation.startswith(query.generation) or s.revision.startswith(query.generation)
        ]
        if not chosen:
            known = ", ".join(dict.fromkeys(f"{s.generation} ({s.revision[:16]})" for s in found)) or "none"
            raise UsageError(
                f"`{service}` has no generation or revision that begins with `{query.generation}`",
                hint=f"it has, oldest first: {known}",
                code="no_generation",
            )
        return chosen
    return found


def follow(connection: Any, stack: Stack, query: Query) -> Iterator[Line]:
    """Yield the past, then lines as they come: of every app container of the services, and of those that come later."""
    last: dict[str, str] = {}
    start = time.time()
    for line in past(connection, stack, query):
        last[line.container] = line.stamp
        yield line
    incoming: queue.Queue[Line] = queue.Queue(maxsize=10_000)
    followed: set[str] = set()
    first = True
    while True:
        for app in containers.members(connection, stack.name):
            if app.role == "app" and app.service in query.services and app.id not in followed:
                followed.add(app.id)
                # What came while the past was read is asked for again; what was shown is skipped.
                since, shown = (start - POLL_SECONDS, last.get(app.id, _stamp(start))) if first else (0.0, "")
                threading.Thread(target=_pump, args=(app, since, shown, incoming), daemon=True).start()
        first = False
        until = time.monotonic() + POLL_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                line = incoming.get(timeout=left)
            except queue.Empty:
                break
            if query.wants(line):
                yield line


def _lines(source: Source, query: Query) -> Iterator[Line]:
    """The wanted lines of one source; at the end of a kept one, what it was and how it ended."""
    oldest = _stamp(query.since) if query.since else ""

    def line(stamp: str, text: str) -> Line:
        return Line(stamp, source.service, text, source.generation, source.revision, source.container)

    for raw in source.read():
        found = line(*_split(raw))
        if found.stamp >= oldest and query.wants(found):
            yield found
    if source.end and (last := line(_stamp(source.end.kept), source.end.epitaph)).stamp >= oldest:
        yield last


def _reader(path: Path) -> Callable[[], Iterator[str]]:
    return lambda: kept_logs.lines(path)


def _docker_reader(connection: Any, container: str, query: Query) -> Callable[[], Iterator[str]]:
    def read() -> Iterator[str]:
        # Docker counts spans as lines: enough of them are asked for that `tail` others are among them, most likely.
        tail: int | str = query.tail if query.traces else 20 * query.tail
        if query.since or query.grep:
            tail = "all"
        options: dict[str, Any] = {"since": query.since} if query.since else {}
        yield from _text(
            connection.api.logs(container, stream=True, follow=False, timestamps=True, tail=tail, **options)
        )

    return read


def _pump(app: containers.Member, since: float, shown: str, incoming: queue.Queue[Line]) -> None:
    options: dict[str, Any] = {"since": since} if since else {}
    with containers.engine() as connection:  # a connection of its own: a followed stream blocks it
        for raw in _text(connection.api.logs(app.id, stream=True, follow=True, timestamps=True, **options)):
            stamp, text = _split(raw)
            if stamp > shown:
                incoming.put(Line(stamp, app.service, text, app.generation, app.revision))


def _text(chunks: Iterable[bytes]) -> Iterator[str]:
    """Chunks of a stream as lines."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _split(line: str) -> tuple[str, str]:
    stamp, _, text = line.partition(" ")
    return stamp, text


def _stamp(seconds: float) -> str:
    """The time as Docker writes it."""
    whole = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z"
