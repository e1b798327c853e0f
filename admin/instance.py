"""One running admin app: everything put together, started and stopped in the right order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from admin.app import create_app
from admin.audit import Audit
from admin.auth.authenticate import Authenticator
from admin.context import Context
from admin.controlplane.server import GrpcServer
from admin.entries import ANY_OWNER
from admin.runs.manager import Runs
from admin.runs.process import take_interrupts
from admin.server import Servers, unix_listener
from admin.settings import ROOT, Settings
from admin.stack import LiveStack, StackView
from karst.errors import KarstError
from karst.files import disk_errors
from karst.stack import resolve

_DRAIN_SECONDS = 3.0


class Instance:
    """Owns the data folder, the runs, the listeners and the Unix socket's file."""

    def __init__(self, settings: Settings, socket_path: Path | None = None, stack: StackView | None = None) -> None:
        self.settings = settings
        self.socket_path = socket_path or settings.socket
        with disk_errors(settings.data):
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        audit = Audit(settings.data / "audit.ndjson")
        self.runs = Runs(settings.data, settings.command, ROOT, audit, keep=settings.limits.keep_runs)
        self.context = Context(settings, Authenticator(settings.auth), self.runs, stack or LiveStack(), audit)
        self._servers: Servers | None = None
        self._grpc: GrpcServer | None = None
        self._grpc_problem = ""

    def start(self) -> None:
        """Take the data folder, reconcile its runs, then listen. Raises KarstError; then nothing is left open."""
        take_interrupts()
        self.runs.open()
        try:
            unix = unix_listener(self.socket_path, self.settings.group)
            try:
                self._open_grpc()
                self._servers = Servers(
                    create_app(self.context),
                    host=self.settings.host,
                    port=self.settings.port,
                    unix=unix,
                    limits=self.settings.limits,
                )
            except BaseException:
                if self._grpc is not None:
                    self._grpc.stop()
                unix.close()
                self._remove_socket()
                raise
        except BaseException:
            self.runs.close()
            raise
        self.context.audit.write("admin.start", f"uid:{os.getuid()}", "ok", pid=os.getpid())
        self._servers.start()
        if self._grpc is not None:
            self._grpc.start()

    def _open_grpc(self) -> None:
        """Bind the gRPC port. When no authority can be had, HTTP has to do, and a line says so."""
        if self.settings.grpc_port is None:
            return
        try:
            self._grpc = GrpcServer(self.context, self.settings.secrets or resolve().secrets_dir)
        except KarstError as err:
            if err.code == "in_use":
                raise
            self._grpc_problem = err.message

    @property
    def port(self) -> int:
        return self._servers.port if self._servers else 0

    @property
    def grpc_port(self) -> int:
        return self._grpc.port if self._grpc else 0

    def stop(self) -> None:
        """End the streams, then the servers. A run that is under way goes on by itself."""
        self.runs.stopping.set()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and any(limit.open for limit in self.context.streams.values()):
            time.sleep(0.05)
        if self._grpc is not None:
            self._grpc.stop()
        if self._servers is not None:
            self._servers.stop()
            self._remove_socket()
            self.context.audit.write("admin.stop", f"uid:{os.getuid()}", "ok", pid=os.getpid())
        self.runs.close()

    def describe(self) -> Iterator[str]:
        """What a person who started it wants to know, one line each."""
        yield f"admin: http://{self.settings.host}:{self.port} and {self.socket_path}"
        if self._grpc is not None:
            yield f"admin: gRPC on {self.settings.host}:{self.grpc_port}, for the mesh's operator"
        if self._grpc_problem:
            yield f"admin: no gRPC: {self._grpc_problem}"
        yield f"admin: tokens are checked by {self.settings.auth.base}"
        if not self.settings.auth.public_key:
            yield "admin: on the page people sign in with a token; SUPABASE_ANON_KEY lets them use their password"
        if self.settings.policy.allow == ANY_OWNER:
            yield "admin: deployers may deploy repositories of any owner (KARST_ADMIN_ALLOW narrows that)"
        if self.settings.peers.uids or self.settings.peers.gids:
            yield "admin: listed uids and gids need no token on the Unix socket"
        active = self.runs.active()
        if active is not None:
            yield f"admin: run {active.id} is still under way"

    def _remove_socket(self) -> None:
        with contextlib.suppress(OSError):
            self.socket_path.unlink()
