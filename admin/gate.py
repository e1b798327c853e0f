"""The one door: every request passes here before its route, and nothing gets in unless it is let in.

A route is reachable when it says which role it needs (`needs`), or when it is in OPEN. A route that says nothing is
closed, whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from flask import Flask, current_app, g, request

from admin.auth.authenticate import Principal
from admin.auth.roles import Role
from admin.auth.tokens import bearer
from admin.context import Context, context
from admin.problems import Problem
from admin.server import LISTENER, PEER

# The only routes without a caller. Nothing here may tell anything about the stack.
OPEN = frozenset({"meta.health", "page.index", "page.file", "page.sign_in"})

_SAFE = frozenset({"GET", "HEAD"})
_HOST = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_TOKEN_NAMES = frozenset({"access_token", "token", "jwt", "apikey", "api_key", "authorization", "bearer"})
View = TypeVar("View", bound=Callable[..., Any])


def needs(role: Role) -> Callable[[View], View]:
    """Open a route to callers of this role and above."""

    def mark(view: View) -> View:
        view.karst_role = role  # type: ignore[attr-defined]
        return view

    return mark


def caller() -> Principal:
    """Who makes the current request."""
    principal = g.principal
    assert isinstance(principal, Principal)  # noqa: S101 - the gate set it, or the route was not reached
    return principal


def install(app: Flask) -> None:
    """Put the gate before every route of ``app``, also before those that do not exist."""
    app.before_request(_gate)


def _gate() -> None:
    ctx = context()
    g.principal = None
    check_host(ctx)
    if request.endpoint in OPEN and request.method in _SAFE:
        return
    g.principal = _identify(ctx)
    _check_url()
    if request.endpoint is None:
        return  # no such route or method: only callers we know learn that
    if request.method not in _SAFE:
        _check_write()
    role = getattr(current_app.view_functions[request.endpoint], "karst_role", None)
    if role is None:
        raise Problem(403, "closed", "this route is open to nobody")
    if caller().role < role:
        raise Problem(
            403,
            "role_too_low",
            f"this needs the role {role.word}; {caller().name or caller().subject} is {caller().role.word}",
        )


def check_host(ctx: Context) -> None:
    """Refuse names that are not ours: a web page can point its own name at 127.0.0.1, and then reads the answers."""
    host = request.environ.get("HTTP_HOST", "").lower()
    match = _HOST.fullmatch(host)
    if match is None:
        raise Problem(400, "bad_host", "the Host header is missing or malformed")
    if match[1] not in ctx.settings.hosts:
        raise Problem(
            421, "unknown_host", "this server does not answer to that Host", hint="KARST_ADMIN_HOSTS lists its names"
        )


def _identify(ctx: Context) -> Principal:
    write = request.method not in _SAFE
    header = request.environ.get("HTTP_AUTHORIZATION")
    if header is None:
        principal = ctx.settings.peers.principal(request.environ.get(PEER))
        if principal is not None:
            _throttle(ctx, principal.subject, write)
            return principal
    claimed = ctx.authenticator.verify(bearer(header))
    # Between the two checks: the auth server is asked only as often as a caller may ask us.
    _throttle(ctx, claimed.subject, write)
    return ctx.authenticator.confirm(claimed, live=write)


def _throttle(ctx: Context, subject: str, write: bool) -> None:
    wait = (ctx.writes if write else ctx.reads).take(subject)
    if wait:
        raise Problem(
            429, "too_many_requests", "too many requests by this caller", headers={"Retry-After": str(int(wait) + 1)}
        )


def _check_url() -> None:
    names = {name.lower() for name, _ in parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)}
    if names & _TOKEN_NAMES:
        raise Problem(
            400,
            "token_in_url",
            "a URL is no place for a token: it ends up in logs",
            hint="send it as Authorization header",
        )


def _check_write() -> None:
    """Only what a script sends on purpose: browsers cannot send JSON to another site without asking it first."""
    content_type = request.environ.get("CONTENT_TYPE", "").strip().lower()
    if content_type.partition(";")[0].strip() != "application/json" or "," in content_type:
        raise Problem(415, "not_json", "send Content-Type: application/json")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "cross_site", "this request comes from another site")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.environ.get("HTTP_HOST", "").lower():
        raise Problem(403, "cross_site", "this request comes from another site")


def listener() -> str:
    """``tcp`` or ``unix``: where the current request came in."""
    return str(request.environ.get(LISTENER, "tcp"))
