"""The gRPC listener: loopback only, a client certificate required, certificates renewed while it runs."""

from __future__ import annotations

import logging
import threading
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING

from admin.context import Context
from karst.errors import KarstError

if TYPE_CHECKING:
    import grpc

log = logging.getLogger("karst.admin")

# Far more often than the shortest lifetime (an hour) needs.
RENEW_SECONDS = 300.0
_THREADS_BESIDE_STREAMS = 8


class GrpcServer:
    """One server; `start` it after the runs are open."""

    def __init__(self, ctx: Context, secrets: Path) -> None:
        """Issue what is missing and bind the port; raises KarstError for what cannot be had."""
        import grpc

        from admin.controlplane.identity import Identities
        from admin.controlplane.servicer import ControlPlane
        from karst.pb import controlplane_pb2_grpc

        settings = ctx.settings
        if settings.grpc_port is None:
            raise KarstError("gRPC is switched off", code="off")
        self._identities = Identities(secrets)
        self._identities.renew()
        threads = settings.limits.grpc_streams + _THREADS_BESIDE_STREAMS
        self._server: grpc.Server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc"),
            maximum_concurrent_rpcs=threads,
            options=[
                # Without this a second server would bind the same port, and take half of the first one's callers.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", settings.limits.body),
                # A connection is asked to end after an hour, so that an old certificate does not live on in it; calls
                # that are under way end by themselves.
                ("grpc.max_connection_age_ms", 3_600_000),
                # Notices a client that vanished without a word.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
        )
        controlplane_pb2_grpc.add_ControlPlaneServicer_to_server(  # type: ignore[no-untyped-call]
            ControlPlane(ctx, self._identities), self._server
        )
        where = f"{settings.host}:{settings.grpc_port}"
        try:
            self.port = self._server.add_secure_port(where, self._identities.credentials())
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise KarstError(
                f"cannot listen on {where} for gRPC: somebody else does, or may not",
                hint="is the admin app running already? else set KARST_ADMIN_GRPC_PORT (`off` for none)",
                code="in_use",
            )
        self._stopped = threading.Event()

    def start(self) -> None:
        self._server.start()
        threading.Thread(target=self._keep_fresh, name="grpc-renew", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._server.stop(grace=1.0).wait()

    def _keep_fresh(self) -> None:
        while not self._stopped.wait(RENEW_SECONDS):
            try:
                self._identities.renew()
            except KarstError as err:
                log.error("the gRPC server's certificate cannot be renewed: %s", err.message)
