"""The Flask app: routes, the gate before them, and errors as problem documents."""

from __future__ import annotations

import logging
import secrets
import time

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from admin import gate
from admin.api import deploys, mesh, meta, page, services
from admin.auth.errors import AuthError, Forbidden, Unauthenticated
from admin.context import Context, context
from admin.problems import Problem, from_karst
from admin.runs.manager import KeyReused, NoSuchRun, NotCancellable, RunBusy, StalePlan
from admin.stack import NoSuchService
from karst.errors import KarstError

log = logging.getLogger("karst.admin")

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def create_app(ctx: Context) -> Flask:
    """The app over the parts in ``ctx``; it holds no state of its own."""
    app = Flask("admin", static_folder=None)
    # No automatic OPTIONS (there is no CORS to negotiate) and no redirects: a path is a route or it is none.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.extensions["karst"] = ctx
    app.before_request(_begin)
    gate.install(app)
    app.after_request(_finish)
    for blueprint in (meta.blueprint, page.blueprint, deploys.blueprint, services.blueprint, mesh.blueprint):
        app.register_blueprint(blueprint)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(AuthError, lambda err: _problem(from_auth(err)))
    app.register_error_handler(RunBusy, lambda err: _problem(_busy(err)))
    app.register_error_handler(KarstError, lambda err: _problem(_karst(err)))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)
    return app


def _begin() -> None:
    g.started = time.monotonic()
    g.request_id = secrets.token_hex(8)


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.request_id
    principal = g.get("principal")
    log.info(
        "%s %s %s %d %.0f ms %s",
        g.request_id,
        request.method,
        ascii(request.path[:200]),  # the path only: a query could hold what somebody should not have put there
        response.status_code,
        (time.monotonic() - g.started) * 1000,
        principal.subject if principal else "-",
    )
    return response


def from_auth(err: AuthError) -> Problem:
    """401 for nobody we know, 403 for somebody without a role, 503 when the auth server cannot tell."""
    if isinstance(err, Unauthenticated):
        challenge = 'Bearer realm="karst"' + ("" if err.reason == "no_authorization" else ', error="invalid_token"')
        return Problem(401, err.reason, err.message, hint=err.hint, headers={"WWW-Authenticate": challenge})
    if isinstance(err, Forbidden):
        return Problem(403, err.reason, err.message, hint=err.hint)
    return Problem(503, err.reason, err.message, hint=err.hint, headers={"Retry-After": "5"})


def _busy(err: RunBusy) -> Problem:
    holder = err.holder
    return Problem(
        409,
        err.code,
        err.message,
        hint=err.hint,
        holder={
            key: value
            for key, value in holder.public().items()
            if key in ("id", "kind", "by", "by_name", "started", "state")
        },
    )


def _karst(err: KarstError) -> Problem:
    problem = from_karst(err)
    for kind, status in (
        (NoSuchRun, 404),
        (NoSuchService, 404),
        (KeyReused, 422),
        (NotCancellable, 409),
        (StalePlan, 409),
    ):
        if isinstance(err, kind):
            problem.status = status
    if err.code in ("no_docker", "engine_silent", "no_stats"):
        problem.status = 503
    return problem


def _http(err: HTTPException) -> Response:
    status = err.code or 500
    code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(status, "refused")
    headers = {name: value for name, value in err.get_headers() if name in ("Allow", "Retry-After")}
    detail = {404: "there is no such route", 405: "this route does not take that method"}.get(status, err.name)
    return _problem(Problem(status, code, detail, headers=headers))


def _unexpected(err: Exception) -> Response:
    log.exception("%s failed", g.get("request_id", "-"), exc_info=err)
    return _problem(
        Problem(
            500, "internal", "something went wrong here; the server's log has it", request_id=g.get("request_id", "")
        )
    )


def problem_of(err: Exception) -> Problem | None:
    """``err`` as the problem that its caller is told; None for a fault of our own."""
    if isinstance(err, Problem):
        return err
    if isinstance(err, AuthError):
        return from_auth(err)
    if isinstance(err, RunBusy):
        return _busy(err)
    return _karst(err) if isinstance(err, KarstError) else None


def _problem(problem: Problem) -> Response:
    if problem.status in (401, 403, 429) and request.method not in ("GET", "HEAD"):
        _audit_refusal(problem)
    return problem.response()


def _audit_refusal(problem: Problem) -> None:
    ctx, principal = context(), g.get("principal")
    actor = principal.subject if principal else "nobody"
    if ctx.refusals.take(actor):
        return
    try:
        ctx.audit.write(
            "refused", actor, problem.code, method=request.method, path=request.path[:200], listener=gate.listener()
        )
    except KarstError as err:
        log.error("the audit log cannot be written: %s", err.message)
