"""Two waitress servers in one process, one on TCP and one on a Unix socket, each with threads of its own.

Of the servers tried, waitress alone noticed a silent client leaving. What is added here: a time limit for sending a
request and for reading an answer (a slow client holds nothing for long), problem documents for requests that waitress
itself refuses, and the credentials of the process at the other end of a Unix socket.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import re
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ErrorTask, WSGITask

from admin.auth.peer import Peer, peer_of
from admin.problems import CONTENT_TYPE, document
from admin.settings import Limits
from karst.errors import KarstError, UsageError

PEER = "karst.peer"
LISTENER = "karst.listener"
_MODE = 0o660
_SWEEP = 1.0
_IDLE_SECONDS = 75
_CODES = {400: "bad_request", 413: "body_too_large", 431: "headers_too_large", 500: "internal", 501: "not_implemented"}
_LENGTH = re.compile(rb"^content-length[ \t]*:", re.IGNORECASE | re.MULTILINE)
_CODING = re.compile(rb"^transfer-encoding[ \t]*:", re.IGNORECASE | re.MULTILINE)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    def parse_header(self, header_plus: bytes) -> None:
        # Two statements of one length are how requests are smuggled past a proxy (RFC 9112, 6.1).
        if _LENGTH.search(header_plus) and _CODING.search(header_plus):
            raise ParsingError("Content-Length and Transfer-Encoding together")
        super().parse_header(header_plus)


class _Task(WSGITask):  # type: ignore[misc]
    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[PEER] = self.channel.peer
        environ[LISTENER] = self.channel.server.listener
        return environ


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    def execute(self) -> None:
        error = self.request.error
        body = json.dumps(document(error.code, _CODES.get(error.code, "refused"), str(error.body))).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", CONTENT_TYPE), ("Cache-Control", "no-store")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    task_class = _Task
    error_task_class = _ErrorTask
    parser_class = _Parser

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        self.peer: Peer | None = peer_of(sock)
        self.unfinished_since: float | None = None
        super().__init__(server, sock, addr, adj, map=map)

    def received(self, data: bytes) -> bool:
        taken = bool(super().received(data))
        if self.request is None:
            self.unfinished_since = None
        elif self.unfinished_since is None:
            self.unfinished_since = time.time()
        return taken

    def overdue(self, now: float, limits: Limits) -> bool:
        """Whether the client took too long to send its request, or to read what it was sent."""
        if self.unfinished_since is not None and now - self.unfinished_since > limits.request_seconds:
            return True
        return bool(self.total_outbufs_len) and now - self.last_activity > limits.stall_seconds


class _Serving:
    """A waitress server with a loop that can be stopped, and a sweep of overdue connections."""

    channel_class = _Channel
    listener = ""
    limits: Limits
    _stopped = False

    def serve(self: Any) -> None:
        swept = 0.0
        while not self._stopped:
            wasyncore.loop(timeout=_SWEEP, use_poll=True, map=self._map, count=1)
            now = time.time()
            if now - swept >= _SWEEP:
                swept = now
                for channel in list(self.active_channels.values()):
                    if channel.overdue(now, self.limits):
                        # Not `will_close`: it waits until the client can be written to, which a stalled one never is.
                        channel.handle_close()
        wasyncore.close_all(self._map, ignore_all=True)
        self.task_dispatcher.shutdown(timeout=2)

    def halt(self: Any) -> None:
        self._stopped = True
        with contextlib.suppress(OSError):
            self.pull_trigger()


class _TcpServer(_Serving, TcpWSGIServer):  # type: ignore[misc]
    listener = "tcp"


class _UnixServer(_Serving, UnixWSGIServer):  # type: ignore[misc]
    listener = "unix"


class Servers:
    """Both listeners of one app."""

    def __init__(self, app: Any, *, host: str, port: int, unix: socket.socket | None, limits: Limits) -> None:
        self._servers: list[Any] = []
        self._threads: list[threading.Thread] = []
        self._unix = unix
        adjustments = _adjustments(limits, host, port)
        try:
            tcp = _TcpServer(app, adj=adjustments, sockinfo=adjustments.listen[0])
        except OSError as err:
            raise _listen_error(err, f"{host}:{port}", "KARST_ADMIN_PORT") from err
        tcp.limits = limits
        self.port = int(tcp.effective_port)
        self._servers.append(tcp)
        if unix is not None:
            server = _UnixServer(
                app,
                _sock=unix,
                bind_socket=False,
                adj=adjustments,
                sockinfo=(socket.AF_UNIX, socket.SOCK_STREAM, None, None),
            )
            server.limits = limits
            self._servers.append(server)

    def start(self) -> None:
        for server in self._servers:
            thread = threading.Thread(target=server.serve, name=f"http-{server.listener}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        for server in self._servers:
            server.halt()
        for thread in self._threads:
            thread.join(timeout=10)
        if self._unix is not None:
            with contextlib.suppress(OSError):
                self._unix.close()


def _adjustments(limits: Limits, host: str, port: int) -> Any:
    return Adjustments(
        listen=f"{host}:{port}",
        threads=limits.threads,
        connection_limit=limits.connections,
        channel_timeout=_IDLE_SECONDS,
        cleanup_interval=5,
        # waitress refuses what is as long as the limit; ours names the last length that passes.
        max_request_header_size=limits.header + 1,
        max_request_body_size=limits.body + 1,
        inbuf_overflow=limits.body + 1,
        # A stream waits for its reader instead of collecting what he does not read.
        outbuf_high_watermark=256 * 1024,
        # Stay readable while a request is served: this is how a client that leaves is noticed.
        channel_request_lookahead=1,
        log_socket_errors=False,
        clear_untrusted_proxy_headers=True,
        ident=None,
    )


def unix_listener(path: Path, group: str = "") -> socket.socket:
    """A bound Unix socket of mode 0660, never reachable with another mode in between.

    A socket that nobody listens on any more is replaced; anything else at that path is left alone. Raises KarstError.
    """
    _make_room(path)
    gid = _group_id(group) if group else None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~_MODE)
    try:
        listener.bind(str(path))
        if gid is not None:
            os.chown(path, -1, gid)
    except OSError as err:
        listener.close()
        raise _listen_error(err, str(path), "KARST_ADMIN_SOCKET") from err
    finally:
        os.umask(before)
    return listener


def _make_room(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as err:
        raise _listen_error(err, str(path), "KARST_ADMIN_SOCKET") from err
    if not stat.S_ISSOCK(mode):
        raise UsageError(
            f"{path} is there, and it is not a socket", hint="set KARST_ADMIN_SOCKET to another path", code="bad_socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as err:
            raise _listen_error(err, str(path), "KARST_ADMIN_SOCKET") from err
        else:
            raise KarstError(
                f"somebody else listens on {path}", hint="is the admin app running already?", code="in_use"
            )


def _group_id(group: str) -> int:
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"KARST_ADMIN_SOCKET_GROUP: there is no group {group!r}", code="bad_setting") from None


def _listen_error(err: OSError, where: str, setting: str) -> KarstError:
    if err.errno == errno.EADDRINUSE:
        return KarstError(
            f"somebody else listens on {where}",
            hint=f"is the admin app running already? else set {setting}",
            code="in_use",
        )
    return KarstError(f"cannot listen on {where}: {err.strerror or err}", hint=f"set {setting}", code="cannot_listen")
