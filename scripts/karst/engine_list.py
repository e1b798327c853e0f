"""One call to the Docker engine: the containers with a label. Without the client library, whose import is felt."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any
from urllib.parse import quote

_SOCKET = "/var/run/docker.sock"


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def labelled(label: str) -> list[dict[str, Any]]:
    """All containers with ``label`` (``key=value``), stopped ones too; OSError or KarstError without an answer."""
    host = os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"
    if not host.startswith("unix://"):
        from karst import containers

        with containers.engine() as docker:
            rows: list[dict[str, Any]] = docker.api.containers(all=True, filters={"label": [label]})
            return rows
    connection = _Unix(host.removeprefix("unix://"))
    try:
        connection.request("GET", f"/containers/json?all=1&filters={quote(json.dumps({'label': [label]}))}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(f"the engine answers {answer.status}")
        found: list[dict[str, Any]] = json.loads(body)
        return found
    except (http.client.HTTPException, ValueError) as err:
        raise OSError(f"the engine's answer cannot be read: {err}") from err
    finally:
        connection.close()
