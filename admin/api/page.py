"""The page: static files and the public half of the auth settings. No token is needed, and nothing here tells about the
stack: everything that the page shows comes from the API, with the caller's token.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from admin.api import query
from admin.context import context
from admin.problems import Problem

blueprint = Blueprint("page", __name__)

_FOLDER = Path(__file__).resolve().parents[1] / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class File:
    """One file of the page, as it is sent."""

    body: bytes
    content_type: str
    etag: str


@blueprint.get("/")
def index() -> Response:
    return _send("index.html")


@blueprint.get("/page/<name>")
def file(name: str) -> Response:
    return _send(name)


@blueprint.get("/v1/sign-in")
def sign_in() -> Response:
    """Where people sign in: the auth server's URL and the project's publishable key; nulls when no key is set."""
    query.known([])
    auth = context().settings.auth
    return jsonify({"url": auth.base if auth.public_key else None, "key": auth.public_key or None})


def _send(name: str) -> Response:
    # A look-up in a table, not a path: what is not one of the page's files cannot be named.
    found = _files().get(name)
    if found is None:
        raise Problem(404, "not_found", "the page has no such file")
    response = Response(found.body, content_type=found.content_type)
    response.set_etag(found.etag)
    response.headers.update(
        {
            # Kept, but asked for each time: a new version of the kit never meets an old script.
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy(),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        }
    )
    response.make_conditional(request)
    return response


def policy() -> str:
    """Scripts and styles from here only, text never as code, data from here and from the auth server only."""
    auth = context().settings.auth
    where = urlsplit(auth.base)
    auth_server = f" {where.scheme}://{where.netloc}" if auth.public_key else ""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self'{auth_server}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


@functools.cache
def _files() -> dict[str, File]:
    """Every file of the page by name, read once."""
    return {
        path.name: File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _TYPES and (body := path.read_bytes())
    }
