"""The mesh over HTTP: who calls whom, and whose certificate ends when."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from admin.api import query
from admin.api.engine import shared
from admin.auth.roles import Role
from admin.context import context
from admin.gate import needs
from admin.runs.events import clean

blueprint = Blueprint("mesh", __name__)


@blueprint.get("/v1/graph")
@needs(Role.VIEWER)
def graph() -> Response:
    """Who may call whom and who did, with rates over a second and times, as `iac graph --json` prints it."""
    query.known([])
    stack = context().stack
    return jsonify(shared(context(), context().graph, lambda: clean(stack.graph())))


@blueprint.get("/v1/certificates")
@needs(Role.VIEWER)
def certificates() -> Response:
    """Every identity's certificate and the trusted authorities', and whether it is the one in use."""
    query.known([])
    stack = context().stack
    return jsonify({"certificates": shared(context(), context().certificates, lambda: clean(stack.certificates()))})
