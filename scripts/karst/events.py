"""Events of a run: one stream of plain objects that the terminal, the admin app and the tests all read.

Every event has ``seq`` (from 1), ``ts`` (RFC 3339, UTC) and ``type``; the other fields depend on the type:

=========== ==================================================================================================
phase       ``phase`` (init, plan, apply, health, destroy …), ``state`` (start, done, failed), ``seconds`` when done
service     ``service``, ``step`` (image, pod, app, sidecar, gate …), ``state`` (start, done, failed), ``action``;
            with ``state`` held: ``revision``, ``generation``, ``reason``, ``hint``
log         ``line``: a line of a program that the run started
diagnostic  ``severity`` (error, warning), ``message``, ``hint``
plan        ``services`` (name → action), ``changes`` (count)
result      last one, always: ``outcome`` (ok, failed …), ``exit_code``, ``services`` (list of health answers)
=========== ==================================================================================================
"""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

Event = dict[str, Any]
Sink = Callable[[Event], None]


class Events:
    """Numbers events and hands them to the sinks, one at a time."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks
        self._seq = 0
        self._lock = threading.Lock()

    def emit(self, kind: str, **fields: Any) -> None:
        """Send one event of type ``kind``."""
        with self._lock:
            self._seq += 1
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            event = {"seq": self._seq, "ts": now, "type": kind, **fields}
            for sink in self._sinks:
                sink(event)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say that this part of a run begins, and how it ended after how many seconds."""
        started = time.monotonic()
        self.emit("phase", phase=name, state="start")
        try:
            yield
        except BaseException:
            self.emit("phase", phase=name, state="failed", seconds=round(time.monotonic() - started, 1))
            raise
        self.emit("phase", phase=name, state="done", seconds=round(time.monotonic() - started, 1))


def ndjson(stream: TextIO) -> Sink:
    """A sink that writes one JSON object a line and flushes it."""

    def write(event: Event) -> None:
        stream.write(json.dumps(event, separators=(",", ":")) + "\n")
        stream.flush()

    return write
