"""The running stack over HTTP: services with their health, their logs, their numbers."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify

from admin.api import query
from admin.api.streaming import NDJSON, disconnected, stream, take_slot
from admin.auth.roles import Role
from admin.context import Context, context
from admin.gate import caller, needs
from admin.runs.events import clean
from admin.stack import NoSuchService

blueprint = Blueprint("services", __name__)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
# Asking every service for its health is work; many readers share one answer.
_FRESH = 1.0
_asking = threading.Lock()


@blueprint.get("/v1/services")
@needs(Role.VIEWER)
def index() -> Response:
    query.known([])
    return jsonify({"services": _services(context())})


@blueprint.get("/v1/services/<service>/logs")
@needs(Role.VIEWER)
def logs(service: str) -> Response:
    """The last ``tail`` lines as NDJSON; with ``follow`` also what comes, until the client leaves or the token ends."""
    query.known(["tail", "follow"])
    tail = query.number("tail", 200, least=0, most=10_000)
    _check(service)
    stack = context().stack
    if not query.flag("follow"):
        lines = (clean(line) for line in stack.logs(service, tail=tail, follow=False, stop=lambda: False) if line)
        return Response("".join(json.dumps(line) + "\n" for line in lines), content_type=NDJSON)
    leave = take_slot()
    try:
        return stream(_follow(context(), service, tail), leave, headers={})
    except BaseException:
        leave()
        raise


@blueprint.get("/v1/services/<service>/stats")
@needs(Role.VIEWER)
def stats(service: str) -> Response:
    query.known([])
    _check(service)
    return jsonify(context().stack.stats(service))


def _check(service: str) -> None:
    if not _NAME.fullmatch(service):
        raise NoSuchService("there is no such service", code="unknown_service")


def _follow(ctx: Context, service: str, tail: int) -> Iterator[dict[str, Any] | None]:
    gone, stopping, expires = disconnected(), ctx.runs.stopping, caller().expires

    def over() -> bool:
        return gone() or stopping.is_set() or (expires is not None and time.time() > expires)

    lines = ctx.stack.logs(service, tail=tail, follow=True, stop=over)
    # The first line is fetched here, so that an unknown service is a 404 and not a broken stream.
    first = next(lines, None)

    def items() -> Iterator[dict[str, Any] | None]:
        yield clean(first)
        for line in lines:
            yield clean(line)

    return items()


def _services(ctx: Context) -> list[dict[str, Any]]:
    cache: dict[str, Any] = ctx.memory
    with _asking:
        if time.monotonic() - cache.get("at", float("-inf")) >= _FRESH:
            cache["services"] = clean(ctx.stack.list_services())
            cache["at"] = time.monotonic()
        found: list[dict[str, Any]] = cache["services"]
        return found
