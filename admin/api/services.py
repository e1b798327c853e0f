"""The running stack over HTTP: services with their health, their logs, their numbers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify

from admin.api import query
from admin.api.engine import engine, shared
from admin.api.streaming import NDJSON, disconnected, stream, take_slot
from admin.auth.roles import Role
from admin.context import Context, context
from admin.gate import caller, needs
from admin.runs.events import clean
from admin.stack import NoSuchService

blueprint = Blueprint("services", __name__)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")


@blueprint.get("/v1/services")
@needs(Role.VIEWER)
def index() -> Response:
    query.known([])
    stack = context().stack
    return jsonify({"services": shared(context(), context().health, lambda: clean(stack.list_services()))})


@blueprint.get("/v1/logs")
@needs(Role.VIEWER)
def all_logs() -> Response:
    """What all services print, merged in the order of time."""
    return _logs("")


@blueprint.get("/v1/services/<service>/logs")
@needs(Role.VIEWER)
def logs(service: str) -> Response:
    """The last ``tail`` lines as NDJSON; with ``follow`` also what comes, until the client leaves or the token ends."""
    _check(service)
    return _logs(service)


def _logs(service: str) -> Response:
    query.known(["tail", "follow"])
    tail = query.number("tail", 200, least=0, most=10_000)
    stack = context().stack
    if not query.flag("follow"):
        with engine(context()):
            lines = [clean(line) for line in stack.logs(service, tail=tail, follow=False, stop=lambda: False) if line]
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
    with engine(context()):
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
