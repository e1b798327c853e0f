"""GET /health, GET /openapi.json and GET /v1/me."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import yaml
from flask import Blueprint, Response, jsonify

from admin.api import query
from admin.auth.roles import Role
from admin.context import context
from admin.gate import caller, needs

blueprint = Blueprint("meta", __name__)


@blueprint.get("/health")
def health() -> Response:
    """Open to everybody, so it says that the process answers and nothing else."""
    return Response('{"status": "ok"}\n', content_type="application/json")


@blueprint.get("/openapi.json")
@needs(Role.VIEWER)
def openapi() -> Response:
    return Response(_document(), content_type="application/json")


@blueprint.get("/v1/me")
@needs(Role.VIEWER)
def me() -> Response:
    """Who the caller is here, and which stack this is."""
    query.known([])
    principal = caller()
    return jsonify(
        {
            "subject": principal.subject,
            "name": principal.name,
            "role": principal.role.word,
            "expires": principal.expires,
            "stack": context().stack.name(),
        }
    )


@functools.cache
def _document() -> str:
    return json.dumps(yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text()))
