"""What the Docker engine lists, by one call each and without the client library, whose import is felt."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from karst import dial


def labelled(*labels: str) -> list[dict[str, Any]]:
    """All containers with these labels (``key=value``), stopped ones too; KarstError without an answer."""
    filters = {"label": list(labels)}
    rows = _ask(f"/containers/json?all=1&filters={quote(json.dumps(filters))}")
    return _by_library(lambda api: api.containers(all=True, filters=filters)) if rows is None else rows


def image_ids() -> dict[str, str]:
    """The engine's images, tag → id; KarstError without an answer."""
    rows = _ask("/images/json")
    rows = _by_library(lambda api: api.images()) if rows is None else rows
    return {tag: row["Id"] for row in rows for tag in row.get("RepoTags") or []}


def _by_library(call: Callable[[Any], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    from karst import containers

    with containers.engine() as docker:
        return call(docker.api)


def _ask(what: str) -> list[dict[str, Any]] | None:
    """The engine's answer; None where there is no Unix socket or no sense in it: the library says what is wrong."""
    host = dial.docker_host()
    if not host.startswith("unix://"):
        return None
    try:
        found: list[dict[str, Any]] = json.loads(_get(host.removeprefix("unix://"), what))
        return found
    except (OSError, ValueError):
        return None


def _get(path: str, what: str) -> bytes:
    """The body of an answer of 200. HTTP/1.0, so that it ends with the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(f"GET {what} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        answer = bytearray()
        while part := connection.recv(1 << 18):
            answer += part
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    if status != [b"200"]:
        raise OSError(f"the engine answers {b''.join(status).decode(errors='replace') or 'nothing'}")
    return body
