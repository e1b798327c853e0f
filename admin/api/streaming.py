"""Streams to clients: NDJSON, or server-sent events when asked for. Each holds a thread, so they are counted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, request

from admin.context import context
from admin.gate import caller, listener
from admin.problems import Problem
from admin.runs.record import now

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
HEARTBEAT = 15.0

Item = dict[str, Any]


def take_slot() -> Callable[[], None]:
    """Count one more open stream of this caller; returns what gives it back. Problem 429 when there are too many."""
    streams, subject = context().streams[listener()], caller().subject
    if not streams.enter(subject):
        raise Problem(
            429, "too_many_streams", "too many open streams", hint="close one first", headers={"Retry-After": "5"}
        )
    given_back = False

    def leave() -> None:
        nonlocal given_back
        if not given_back:
            given_back = True
            streams.leave(subject)

    return leave


def disconnected() -> Callable[[], bool]:
    """Tells whether the client of the current request has gone."""
    probe: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    return probe


def stream(items: Iterator[Item | None], leave: Callable[[], None], *, headers: dict[str, str]) -> Response:
    """A response that sends items as they come, and a heartbeat when there were none for a while.

    None among the items means "nothing yet". ``leave`` is called when the response is over, whichever way.
    """
    as_sse = request.accept_mimetypes.best_match([NDJSON, SSE], NDJSON) == SSE
    response = Response(
        _encoded(items, as_sse, disconnected()), content_type=SSE if as_sse else NDJSON, headers=headers
    )
    response.call_on_close(leave)
    return response


def _encoded(items: Iterator[Item | None], as_sse: bool, gone: Callable[[], bool]) -> Iterator[bytes]:
    last_sent, last_seq = float("-inf"), 0
    try:
        for item in items:
            if gone():
                return
            if item is None:
                if time.monotonic() - last_sent < HEARTBEAT:
                    continue
                # Also right at the start: headers travel with the first byte.
                item = {"type": "heartbeat", "ts": now(), "seq": last_seq}
            last_seq = item.get("seq", last_seq)
            last_sent = time.monotonic()
            yield _sse(item) if as_sse else json.dumps(item).encode() + b"\n"
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _sse(item: Item) -> bytes:
    if item.get("type") == "heartbeat":
        return b": heartbeat\n\n"
    lines = []
    if "seq" in item:
        lines.append(f"id: {item['seq']}")
    kind = item.get("type", "line")
    if isinstance(kind, str) and kind.isidentifier():
        lines.append(f"event: {kind}")
    lines.append(f"data: {json.dumps(item)}")
    return "\n".join(lines).encode() + b"\n\n"
