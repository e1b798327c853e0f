"""gRPC on 127.0.0.1:50051: karst.v1.ControlPlane and grpc.health.v1.Health."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import cast

import grpc
from google.protobuf import empty_pb2
from grpc_health.v1 import health as health_v1
from grpc_health.v1 import health_pb2, health_pb2_grpc

from .health import HEALTHY, Board, Health
from .logs import Line, Ring
from .pb import controlplane_pb2 as pb
from .pb import controlplane_pb2_grpc as pb_grpc
from .settings import Settings

THREADS = 8
#: Each open stream holds a thread while its client is slow; the rest stay free for HealthCheck.
STREAMS = 4
BATCH_LINES = 1024
#: Half of what a gRPC client accepts in one message by default.
BATCH_BYTES = 2 << 20
LOOK_FOR_CLIENT = 1.0


class Servicer(pb_grpc.ControlPlaneServicer):
    """Answers for one service. Deploy is left to the admin app: here it is UNIMPLEMENTED."""

    def __init__(self, settings: Settings, board: Board, ring: Ring) -> None:
        self._settings = settings
        self._board = board
        self._ring = ring
        self._streams = threading.BoundedSemaphore(STREAMS)

    def HealthCheck(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> pb.HealthStatus:
        health = self._board.health
        answer = pb.HealthStatus(
            status=cast("pb.HealthStatus.Status", health.status),
            reason=health.reason,
            exit_code=health.exit_code,
            app_port=health.app_port,
            kind=cast("pb.HealthStatus.Kind", health.kind),
            restarts=health.restarts,
            revision=self._settings.revision,
            service=self._settings.service,
            stack=self._settings.stack,
        )
        answer.since.FromNanoseconds(health.since_ns)
        return answer

    def StreamLogs(self, request: pb.LogRequest, context: grpc.ServicerContext) -> Iterator[pb.LogLine]:
        for batch in self._batches(request, context):
            yield from batch

    def StreamLogBatches(self, request: pb.LogRequest, context: grpc.ServicerContext) -> Iterator[pb.LogBatch]:
        for lines in self._batches(request, context):
            yield pb.LogBatch(lines=lines, dropped=sum(line.dropped for line in lines))

    def _batches(self, request: pb.LogRequest, context: grpc.ServicerContext) -> Iterator[list[pb.LogLine]]:
        own = self._settings.service
        if request.service and own and request.service != own:
            context.abort(grpc.StatusCode.NOT_FOUND, f"this is `{own}`, not `{request.service}`")
        if not self._streams.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS} log streams of `{own}` are open already")
        context.add_callback(self._ring.wake)
        try:
            yield from self._read(request, context)
        finally:
            self._streams.release()

    def _read(self, request: pb.LogRequest, context: grpc.ServicerContext) -> Iterator[list[pb.LogLine]]:
        seq = self._begin(request)
        end = None if request.follow else self._ring.last
        while context.is_active() and (end is None or seq < end):
            closed = self._ring.closed
            found, dropped = self._ring.after(seq, BATCH_LINES)
            if found:
                yield from self._messages(found, dropped)
                seq = found[-1].seq
            elif closed or end is not None:
                return
            else:
                self._ring.wait(seq, LOOK_FOR_CLIENT)

    def _begin(self, request: pb.LogRequest) -> int:
        """Return the sequence number after which to begin: the latest that any part of the request asks for."""
        seq = request.after_seq
        if request.HasField("since"):
            seq = max(seq, self._ring.since(request.since.ToNanoseconds()))
        if request.HasField("tail"):
            seq = max(seq, self._ring.tail(request.tail))
        return int(seq)

    def _messages(self, lines: list[Line], dropped: int) -> Iterator[list[pb.LogLine]]:
        batch: list[pb.LogLine] = []
        size = 0
        for line in lines:
            message = pb.LogLine(
                msg=line.text.rstrip(b"\r").decode("utf-8", "replace"),
                seq=line.seq,
                stream=cast("pb.LogLine.Stream", line.stream),
                service=self._settings.service,
                dropped=dropped,
            )
            message.ts.FromNanoseconds(line.time_ns)
            dropped = 0
            batch.append(message)
            size += len(line.text)
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def serve(settings: Settings, board: Board, ring: Ring, vacate: Callable[[], None]) -> grpc.Server:
    """Start the server; raises RuntimeError when the port cannot be had.

    ``vacate`` gives up the port that was kept for it: at the last moment, or an app that wants it could be first.
    """
    pool = futures.ThreadPoolExecutor(THREADS, thread_name_prefix="grpc")
    # Nobody needs to send the runner more than a request for logs.
    options = [("grpc.max_receive_message_length", 64 * 1024), ("grpc.so_reuseport", 0)]
    server = grpc.server(pool, options=options)
    pb_grpc.add_ControlPlaneServicer_to_server(Servicer(settings, board, ring), server)  # type: ignore[no-untyped-call]
    standard = health_v1.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(standard, server)

    changes: queue.SimpleQueue[Health] = queue.SimpleQueue()

    def tell() -> None:
        while True:
            serving = changes.get().status in HEALTHY
            word = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            for name in {"", "karst.v1.ControlPlane", settings.service}:
                standard.set(name, word)

    vacate()
    server.add_insecure_port(f"127.0.0.1:{settings.listen_port}")
    board.subscribe(changes.put)
    # A thread of its own: `set` waits for every client of Watch to take the news.
    threading.Thread(target=tell, name="health", daemon=True).start()
    server.start()
    return server


def stop(server: grpc.Server, ring: Ring) -> None:
    """End the streams after their last line, then the server; takes less than half a second."""
    ring.close()
    with contextlib.suppress(Exception):
        server.stop(0.3).wait(0.4)
