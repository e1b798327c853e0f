"""Refusals in gRPC's words: the same sentences as over HTTP, and the machine word in the trailing metadata."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

from admin.app import problem_of
from admin.problems import Problem

if TYPE_CHECKING:
    import grpc

log = logging.getLogger("karst.admin")

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


def abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End the call with the status that fits ``error``; details hold the sentence and its hint."""
    import grpc

    problem = problem_of(error)
    if problem is None:
        log.exception("a gRPC call failed", exc_info=error)
        problem = Problem(500, "internal", "something went wrong here; the server's log has it")
    details = f"{problem.detail}\n  hint: {problem.hint}" if problem.hint else problem.detail
    holder = problem.extra.get("holder")
    metadata = (("karst-code", problem.code), *([("karst-holder", str(holder["id"]))] if holder else []))
    context.set_trailing_metadata(metadata)
    context.abort(grpc.StatusCode[_CODES.get(problem.status, "INTERNAL")], details)
    raise AssertionError("abort raises")  # pragma: no cover - for the type checker
