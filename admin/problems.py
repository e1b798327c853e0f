"""Errors as the API tells them: RFC 9457 problem documents, one shape for every route and both sockets."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from flask import Response

from karst.errors import BusyError, KarstError, UsageError

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is not the one asked for.

    Attributes:
        status: the HTTP status.
        code: a stable machine word; the document's ``type`` is ``urn:karst:problem:<code>``.
        detail: one sentence for a person.
        hint: what to do about it, or "".
        headers: extra response headers.
        extra: extra members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers = headers or {}
        self.extra = extra

    def to_dict(self) -> dict[str, Any]:
        return document(self.status, self.code, self.detail, self.hint, **self.extra)

    def response(self) -> Response:
        response = Response(json.dumps(self.to_dict()) + "\n", self.status, content_type=CONTENT_TYPE)
        response.headers.update(self.headers)
        return response


def document(status: int, code: str, detail: str, hint: str = "", **extra: Any) -> dict[str, Any]:
    """The members of a problem document."""
    body = {
        "type": f"urn:karst:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **extra,
    }
    if hint:
        body["hint"] = hint
    return body


def from_karst(err: KarstError) -> Problem:
    """A sentence meant for people, as a problem: wrong input 422, busy 409, a full disk 507, all else 500."""
    if isinstance(err, UsageError):
        status = 422
    elif isinstance(err, BusyError):
        status = 409
    else:
        status = 507 if err.code == "disk_full" else 500
    return Problem(status, err.code, err.message, hint=err.hint)
