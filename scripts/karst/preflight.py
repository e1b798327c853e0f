"""What can be known to be wrong before anything is changed: no engine, a taken port, too few inotify instances."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

from karst import containers, dial
from karst.errors import KarstError
from karst.stack import Stack

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
PER_ENVOY = 6  # a watch for each of: certificate, bundle, the two files that name them, and the app's address, twice


def check(stack: Stack, services: int = 0) -> None:
    """Raise KarstError with one sentence when a deploy of ``stack``, with so many services, could not succeed here."""
    with containers.engine() as docker:
        ours = _published(docker, stack.name)
        others = sum(row["Labels"].get(containers.STACK) != stack.name for row in _envoys(docker)) if services else 0
    if dial.is_elsewhere():
        return  # neither its ports nor its kernel's limits can be seen from here
    if services:
        _check_inotify(others + services + 1)
    for purpose, port in stack.ports.items():
        if port not in ours and _taken(port):
            raise KarstError(
                f"port {port} on 127.0.0.1, which the edge needs ({purpose.replace('_', ' ')}), is taken",
                hint=f"stop what listens there, or set KARST_{purpose.upper()}_PORT to a free port",
                code="port_taken",
            )


def _check_inotify(envoys: int) -> None:
    try:
        limit = int(INOTIFY.read_text())
    except (OSError, ValueError):  # no Linux: Docker runs in a virtual machine with limits of its own
        return
    if envoys * PER_ENVOY > limit:
        raise KarstError(
            f"{envoys} Envoys would run on this host and need {envoys * PER_ENVOY} inotify instances; "
            f"the kernel allows a user {limit}",
            hint="raise it: `sudo sysctl fs.inotify.max_user_instances=8192` (docs/operations.md says how to keep it)",
            code="inotify_limit",
        )


def _envoys(docker: Any) -> list[dict[str, Any]]:
    rows = docker.api.containers(filters={"label": [containers.ROLE]})
    return [row for row in rows if row["Labels"].get(containers.ROLE) in ("sidecar", "edge")]


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
