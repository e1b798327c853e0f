"""Runs over HTTP: POST /deploy streams one to its end; /v1/deploys starts, lists, follows and cancels them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify, request

from admin import entries
from admin.api import query
from admin.api.streaming import disconnected, stream, take_slot
from admin.auth.roles import Role
from admin.context import context
from admin.gate import caller, needs
from admin.problems import Problem
from admin.runs.manager import Request
from admin.runs.record import Run, is_id

blueprint = Blueprint("deploys", __name__)

_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,128}")
_MAX_SEQ = 2**31


@blueprint.post("/deploy")
@needs(Role.DEPLOYER)
def deploy() -> Response:
    """Start a run and stream its events to the last, which is ``result``. The run does not need the stream."""
    query.known([])
    leave = take_slot()
    try:
        run, _ = context().runs.start(_request())
        return _events(run, 0, leave)
    except BaseException:
        leave()
        raise


@blueprint.post("/v1/deploys")
@needs(Role.DEPLOYER)
def start() -> tuple[Response, int, dict[str, str]]:
    query.known([])
    run, replayed = context().runs.start(_request())
    headers = {"Location": _url(run)} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return jsonify(run.public()), 202, headers


@blueprint.get("/v1/deploys")
@needs(Role.VIEWER)
def index() -> Response:
    """Newest first; ``before`` takes the id that ``next`` of the last page names."""
    query.known(["limit", "before"])
    limit = query.number("limit", 50, least=1, most=200)
    before = request.args.get("before", "~")
    if before != "~" and not is_id(before):
        raise Problem(400, "bad_parameter", "`before` is the id of a run", hint="take it from `next` of the last page")
    found = [run for run in context().runs.all() if run.id < before]
    page = found[:limit]
    return jsonify({"deploys": [run.public() for run in page], "next": page[-1].id if len(found) > limit else None})


@blueprint.get("/v1/deploys/<run_id>")
@needs(Role.VIEWER)
def show(run_id: str) -> Response:
    query.known([])
    return jsonify(context().runs.get(run_id).public())


@blueprint.get("/v1/deploys/<run_id>/list")
@needs(Role.DEPLOYER)
def show_list(run_id: str) -> Response:
    """The list that a run was given, whole (with `env:`), in the form that POST /v1/deploys takes."""
    query.known([])
    return jsonify({"slugs": context().runs.entries(run_id)})


@blueprint.get("/v1/deploys/<run_id>/events")
@needs(Role.VIEWER)
def events(run_id: str) -> Response:
    """Events after number ``after`` (or Last-Event-ID), to the last."""
    query.known(["after"])
    run = context().runs.get(run_id)
    text = request.args.get("after", request.headers.get("Last-Event-ID"))
    after = 0 if text is None else query.number("after", 0, least=0, most=_MAX_SEQ, text=text)
    leave = take_slot()
    try:
        return _events(run, after, leave)
    except BaseException:
        leave()
        raise


@blueprint.post("/v1/deploys/<run_id>/cancel")
@needs(Role.DEPLOYER)
def cancel(run_id: str) -> tuple[Response, int]:
    """Interrupt a run, once. Deployers may cancel their own, admins everybody's."""
    query.known([])
    entries.only(entries.decode(request.get_data()), [])
    ctx, principal = context(), caller()
    run = ctx.runs.get(run_id)
    if run.by != principal.subject and principal.role < Role.ADMIN:
        raise Problem(403, "not_yours", f"run {run.id} was started by somebody else", hint="an admin can cancel it")
    return jsonify(ctx.runs.cancel(run_id, principal.subject).public()), 202


@blueprint.get("/v1/plan")
@needs(Role.VIEWER)
def plan() -> Response:
    """The latest finished plan, by service, and whether it can still be applied as it is."""
    query.known([])
    runs = context().runs
    everything = runs.all()
    latest = next((run for run in everything if run.kind == "plan" and run.outcome == "ok"), None)
    if latest is None:
        return jsonify({"plan": None})
    found = next((event for event in runs.events(latest.id) if event["type"] == "plan"), {})
    return jsonify(
        {
            "plan": {
                "run": latest.id,
                "by": latest.by,
                "at": latest.finished,
                "slugs": list(latest.slugs),
                "services": found.get("services", {}),
                "changes": found.get("changes", 0),
                "applicable": everything[0].id == latest.id,
            }
        }
    )


def _events(run: Run, after: int, leave: Any) -> Response:
    gone, runs = disconnected(), context().runs

    def items() -> Iterator[dict[str, Any] | None]:
        for event in runs.follow(run.id, after):
            if gone():
                return
            yield event

    return stream(items(), leave, headers={"Location": _url(run), "Karst-Run": run.id})


def _url(run: Run) -> str:
    return f"/v1/deploys/{run.id}"


def _request() -> Request:
    """What the body of a request asks for, checked."""
    raw = request.get_data()
    body = entries.decode(raw)
    entries.only(body, ["slugs", "dry_run", "plan"])
    principal = caller()
    kind, plan_run = "plan" if entries.flag(body, "dry_run") else "deploy", ""
    slugs: tuple[str, ...]
    if "plan" in body:
        if len(body) > 1:
            raise Problem(422, "bad_value", "`plan` stands alone: it names a run whose plan is applied as it is")
        plan_run = body["plan"] if isinstance(body["plan"], str) else ""
        kind, slugs = "apply", context().runs.get(plan_run).slugs
    else:
        slugs = entries.check(body.get("slugs"), context().settings.policy)
    return Request(
        kind=kind,
        entries=tuple(body.get("slugs", ())),
        slugs=slugs,
        by=principal.subject,
        by_name=principal.name,
        key=_key(principal.subject),
        digest=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
        plan=plan_run,
    )


def _key(subject: str) -> str:
    """The Idempotency-Key, made the caller's own: nobody can find another's run by guessing a key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    if not _KEY.fullmatch(key):
        raise Problem(
            400, "bad_idempotency_key", "Idempotency-Key is 1 to 128 visible characters without a comma, once"
        )
    return hashlib.sha256(f"{subject}\0{key}".encode()).hexdigest()
