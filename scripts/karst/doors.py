"""The edge's doors (mTLS, figures), wherever DOCKER_HOST goes.

They are ports on 127.0.0.1 of the Docker host. When that is another machine, a connection goes through Docker's API
instead: `relay` in the edge's container passes the bytes on. That works over ssh and over TCP alike, and needs no port
and no right that a user of the engine does not have already.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import threading
from typing import Any, NamedTuple

from karst import containers, dial
from karst.errors import KarstError

_MAX_BYTES = 4 << 20
#: What the edge listens on inside its container.
INSIDE = {"edge": 15000, "metrics": 9901, "front_door": 8088}


class Door(NamedTuple):
    """One door of a stack's edge.

    Attributes:
        host, port: where it is on the Docker host; a test or a root of one's own may have other ones.
        stack: whose edge.
        name: ``edge``, ``metrics`` or ``front_door``.
        container: id of the container to go through when that is not the edge: a pod, where there is no edge.
    """

    host: str
    port: int
    stack: str
    name: str = "edge"
    container: str = ""


Address = tuple[str, int] | Door


def connect(address: Address, timeout: float) -> socket.socket:
    """A connection to ``address``, whose reads then take ``timeout`` seconds at most; raises OSError."""
    if isinstance(address, Door) and dial.is_elsewhere():
        return _through_the_engine(address, timeout)
    return socket.create_connection((address[0], address[1]), timeout)


def listens(address: Address) -> bool:
    """Whether anything answers there."""
    try:
        with connect(address, 1.0) as door:
            # A relay that finds nothing there closes; where nobody listens on this machine, connecting fails.
            return not isinstance(address, Door) or not dial.is_elsewhere() or door.recv(1) != b""
    except TimeoutError:  # both sides wait for us to speak
        return True
    except OSError:
        return False


def get(door: Door, path: str, timeout: float) -> tuple[int, bytes]:
    """One HTTP GET; the answer's status and body. Raises OSError."""
    import http.client  # here: a gate starts without it

    connection = http.client.HTTPConnection(door.host, door.port, timeout=timeout)
    try:
        connection.sock = connect(door, timeout)
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MAX_BYTES)
    except http.client.HTTPException as err:
        raise OSError(f"no HTTP answer ({type(err).__name__})") from err
    finally:
        connection.close()


def _through_the_engine(door: Door, timeout: float) -> socket.socket:
    import docker.errors
    from requests.exceptions import RequestException

    try:
        engine = _engine(dial.docker_host())
        command = ["/opt/karst/relay", str(INSIDE[door.name])]
        execution = engine.api.exec_create(door.container or _edge(engine, door.stack), command, stdin=True)
        stream = engine.api.exec_start(execution["Id"], socket=True)
    except (KarstError, docker.errors.DockerException, RequestException) as err:
        raise OSError(f"the edge could not be asked through the engine: {err}") from err
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout)
    _Relay(stream, theirs).start()
    return ours


@functools.cache
def _engine(_host: str) -> Any:
    """Kept for the process: health and figures ask many times, and each new client begins with questions of its own."""
    return containers.client()


def _edge(engine: Any, stack: str) -> str:
    found = [m for m in containers.members(engine, stack) if m.role == "edge" and m.state == "running"]
    if not found:
        raise ConnectionRefusedError("the edge does not run")
    return found[0].id


class _Relay:
    """Copies both ways between a socket and an attached command, until either side ends."""

    def __init__(self, stream: Any, end: socket.socket) -> None:
        self._stream, self._end = stream, end
        self._raw: Any = getattr(stream, "_sock", stream)
        self._raw.settimeout(None)

    def start(self) -> None:
        for work in (self._up, self._down):
            threading.Thread(target=work, name="edge-relay", daemon=True).start()

    def _up(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := self._end.recv(65536):
                self._raw.sendall(data)
        with contextlib.suppress(OSError, ValueError):
            self._raw.shutdown(socket.SHUT_WR)

    def _down(self) -> None:
        """The command's stdout, which Docker sends in frames; what it says on stderr is its reason to end."""
        try:
            with contextlib.suppress(OSError, ValueError, struct.error):
                while True:
                    kind, length = struct.unpack(">BxxxL", self._read(8))
                    data = self._read(length)
                    if kind == 1:
                        self._end.sendall(data)
        finally:
            with contextlib.suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
            self._end.close()
            with contextlib.suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)
            self._raw.close()
            self._stream.close()

    def _read(self, length: int) -> bytes:
        parts = []
        while length:
            part = self._raw.recv(min(length, 65536))
            if not part:
                raise OSError("closed")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)
