"""What can be known to be wrong before anything is changed: no engine, or a port that somebody else holds."""

from __future__ import annotations

import errno
import socket
from typing import Any

from karst import containers
from karst.errors import KarstError
from karst.stack import Stack


def check(stack: Stack) -> None:
    """Raise KarstError with one sentence when a deploy of ``stack`` could not succeed on this host."""
    with containers.engine() as docker:
        ours = _published(docker, stack.name)
    for purpose, port in stack.ports.items():
        if port not in ours and _taken(port):
            raise KarstError(
                f"port {port} on 127.0.0.1, which the edge needs ({purpose.replace('_', ' ')}), is taken",
                hint=f"stop what listens there, or set KARST_{purpose.upper()}_PORT to a free port",
                code="port_taken",
            )


def _published(docker: Any, stack: str) -> set[int]:
    rows = docker.api.containers(filters={"label": [f"{containers.STACK}={stack}", f"{containers.ROLE}=edge"]})
    return {port["PublicPort"] for row in rows for port in row.get("Ports", []) if port.get("PublicPort")}


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a server would: without it, connections in TIME_WAIT look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            return err.errno == errno.EADDRINUSE
    return False
