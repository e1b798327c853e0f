"""The event file of a run: lines as the command wrote them, read as numbered events.

The number of an event is the number of its line. A reader can therefore leave at any time and come back with the last
number it saw, and nothing that the command prints can break the order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A longer line is cut: one event must not fill the memory of everybody who follows.
MAX_LINE = 1024 * 1024
_CHUNK = 256 * 1024
# Escape sequences (CSI, OSC, two-character) and control characters other than tab: a log line must not be able to
# move a reader's cursor, change their window's title or hide text.
_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)

Event = dict[str, Any]


def clean(value: Any) -> Any:
    """The same JSON value with terminal control taken out of every string."""
    if isinstance(value, str):
        return _ANSI.sub("", value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


def parse(line: bytes, seq: int) -> Event:
    """One line as an event; text that is not one becomes a ``log`` event."""
    cut = len(line) > MAX_LINE
    text = line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r\n")
    event: Any = None
    if not cut and text.startswith("{"):
        try:
            event = json.loads(text, parse_constant=str)
        except (ValueError, RecursionError):
            event = None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        event = {"type": "log", "line": text, **({"cut": True} if cut else {})}
    return {**clean(event), "seq": seq}


def append(path: Path, event: Event) -> None:
    """Add an event of our own, on a line of its own. Only while the command does not run."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        os.write(fd, (b"\n" if torn else b"") + json.dumps(event).encode() + b"\n")
    finally:
        os.close(fd)


class Tail:
    """Reads the events of one file from the start, and goes on where it was when the file has grown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._seq = 0

    def read(self) -> Iterator[Event]:
        """The events that have been completed since the last call."""
        try:
            handle = self._path.open("rb")
        except FileNotFoundError:
            return
        with handle:
            handle.seek(self._offset)
            while chunk := handle.read(_CHUNK):
                self._offset += len(chunk)
                lines = (self._rest + chunk).split(b"\n")
                self._rest = lines.pop()
                for line in lines:
                    yield self._event(line)
                if len(self._rest) > 2 * MAX_LINE:
                    # Keep the length "too long", drop the rest: the line is cut anyway.
                    self._rest = self._rest[: MAX_LINE + 1]

    def _event(self, line: bytes) -> Event:
        self._seq += 1
        return parse(line, self._seq)


def result_of(path: Path) -> Event | None:
    """The ``result`` event of a file, or None. The first one counts; what comes after it is nobody's."""
    return next((event for event in Tail(path).read() if event["type"] == "result"), None)
