"""GET /health and GET /openapi.json."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import yaml
from flask import Blueprint, Response

from admin.auth.roles import Role
from admin.gate import needs

blueprint = Blueprint("meta", __name__)


@blueprint.get("/health")
def health() -> Response:
    """Open to everybody, so it says that the process answers and nothing else."""
    return Response('{"status": "ok"}\n', content_type="application/json")


@blueprint.get("/openapi.json")
@needs(Role.VIEWER)
def openapi() -> Response:
    return Response(_document(), content_type="application/json")


@functools.cache
def _document() -> str:
    return json.dumps(yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text()))
