"""Sends spans to an OpenTelemetry collector, from the runner and not from the app.

The app's protobuf, grpcio or requests never meet ours, its HTTP_PROXY (the mesh's outbound) is not asked for the way,
and a collector that is slow or gone costs the app nothing. The variables are the standard OTEL_EXPORTER_OTLP_* ones.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

GRPC_PORT = 4317
QUEUE_BYTES = 1 << 20
BATCH_SPANS = 256
BATCH_WAIT = 1.0
TRIES = 4
COMPLAIN_EVERY = 60.0
PREFIX, SUFFIX = b'{"resourceSpans":[', b"]}"


@dataclass(frozen=True)
class Target:
    """Where to, and how.

    Attributes:
        protocol: "grpc", "http/json" or "http/protobuf".
        certificate: a CA bundle's file, or "" for the system's.
    """

    host: str
    port: int
    path: str
    tls: bool
    protocol: str
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate: str = ""
    timeout: float = 10.0

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


def target(env: Mapping[str, str]) -> Target | None:
    """Read the environment; None when spans go to stdout. Raises ValueError for an endpoint that is none."""

    def read(name: str) -> str:
        return env.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or env.get(f"OTEL_EXPORTER_OTLP_{name}") or ""

    endpoint = read("ENDPOINT")
    if not endpoint or env.get("OTEL_TRACES_EXPORTER", "otlp") not in {"otlp", "otlp_proto_grpc", "otlp_proto_http"}:
        return None
    url = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError(f"OTEL_EXPORTER_OTLP_ENDPOINT must be like http://host:4317, not {endpoint!r}")
    protocol = read("PROTOCOL") or ("grpc" if url.port == GRPC_PORT else "http/json")
    own = bool(env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))  # taken as it is; the common one gets the signal's path
    default = GRPC_PORT if protocol == "grpc" else (4318 if url.scheme == "http" else 443)
    return Target(
        host=url.hostname,
        port=url.port or default,
        path=(url.path or "/") if own else url.path.rstrip("/") + "/v1/traces",
        tls=url.scheme == "https",
        protocol=protocol,
        headers=_headers(read("HEADERS")),
        certificate=read("CERTIFICATE"),
        timeout=_seconds(read("TIMEOUT")),
    )


def _headers(text: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in text.split(",") if "=" in item]
    return {unquote(key.strip()).lower(): unquote(value.strip()) for key, _, value in pairs}


def _seconds(text: str) -> float:
    """The specification says milliseconds, the Python SDK seconds: what is too large for seconds is milliseconds."""
    with contextlib.suppress(ValueError):
        value = float(text)
        return value / 1000 if value >= 100 else max(value, 0.1)
    return 10.0


Sender = Callable[[list[bytes]], None]


class Refused(Exception):
    """The collector said no; ``again`` says whether it may say yes later."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class Collector(threading.Thread):
    """A bounded queue and a thread that empties it in batches."""

    def __init__(self, target: Target, say: Callable[[str], None]) -> None:
        super().__init__(name="collector", daemon=True)
        self._target = target
        self._say = say
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._changed = threading.Condition()
        self._busy = False
        self._hurry = False
        self._complained = -COMPLAIN_EVERY
        self._sender: Sender | None = None  # made in the thread: gRPC is slow to import

    def put(self, body: bytes, lost: int = 0) -> None:
        """Add one OTLP/JSON object; drops the oldest when the queue is full. Never blocks."""
        with self._changed:
            self._lost += lost
            self._queue.append(body)
            self._size += len(body)
            while self._size > QUEUE_BYTES:
                self._size -= len(self._queue.popleft())
                self._lost += 1
            self._changed.notify_all()

    def flush(self, timeout: float) -> None:
        """Send what is there without waiting for more; returns after ``timeout`` seconds at the latest."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queue and not self._busy, timeout)

    def run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue)
                self._changed.wait_for(lambda: len(self._queue) >= BATCH_SPANS or self._hurry, BATCH_WAIT)
                batch = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
                self._size -= sum(map(len, batch))
                self._busy = True
            if batch:
                self._deliver(batch)

    def _deliver(self, batch: list[bytes]) -> None:
        delay = 0.5
        for left in range(TRIES - 1, -1, -1):
            try:
                if self._sender is None:
                    make = _grpc_sender if self._target.protocol == "grpc" else _http_sender
                    self._sender = make(self._target)
                self._sender(batch)
                return
            except Exception as err:
                again = getattr(err, "again", isinstance(err, OSError | http.client.HTTPException))
                if not again or not left or self._hurry:
                    with self._changed:
                        self._lost += len(batch)
                    self._complain(err)
                    return
            time.sleep(delay)
            delay *= 2

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            with self._changed:
                lost, self._lost = self._lost, 0
            self._say(f"traces do not reach {self._target.name} ({error or type(error).__name__}); {lost} spans lost")


def merge(batch: list[bytes]) -> bytes:
    """Make one OTLP/JSON object of several."""
    if all(body.startswith(PREFIX) and body.endswith(SUFFIX) for body in batch):
        return PREFIX + b",".join(body[len(PREFIX) : -len(SUFFIX)] for body in batch) + SUFFIX
    spans = [item for body in batch for item in json.loads(body).get("resourceSpans", [])]
    return json.dumps({"resourceSpans": spans}).encode()


def to_protobuf(body: bytes) -> Any:
    """Turn OTLP/JSON into ExportTraceServiceRequest.

    OTLP/JSON is proto3's JSON but for the ids, which are hex instead of base64.
    """
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    data = json.loads(body)
    for resource in data.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for item in (span, *span.get("links", [])):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if item.get(key):
                            item[key] = base64.b64encode(bytes.fromhex(item[key])).decode()
    return json_format.ParseDict(data, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def _http_sender(target: Target) -> Sender:
    connection: http.client.HTTPConnection
    if target.tls:
        context = ssl.create_default_context(cafile=target.certificate or None)
        connection = http.client.HTTPSConnection(target.host, target.port, timeout=target.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=target.timeout)
    protobuf = target.protocol == "http/protobuf"

    def post(body: bytes, kind: str) -> int:
        try:
            connection.request("POST", target.path, body, {**target.headers, "Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
        except Exception:
            connection.close()  # the next try opens it again
            raise
        return answer.status

    def send(batch: list[bytes]) -> None:
        nonlocal protobuf
        body = merge(batch)
        if protobuf:
            status = post(to_protobuf(body).SerializeToString(), "application/x-protobuf")
        else:
            status = post(body, "application/json")
            if status == 415:  # it knows protobuf only
                protobuf = True
                return send(batch)
        if status >= 300:
            raise Refused(f"HTTP status {status}", again=status in {429, 502, 503, 504})
        return None

    return send


def _grpc_sender(target: Target) -> Sender:
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

    options = [("grpc.enable_http_proxy", 0)]
    if target.tls:
        roots = None
        if target.certificate:
            with open(target.certificate, "rb") as handle:
                roots = handle.read()
        channel = grpc.secure_channel(target.name, grpc.ssl_channel_credentials(roots), options)
    else:
        channel = grpc.insecure_channel(target.name, options)
    stub = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]
    metadata = tuple(target.headers.items())

    def send(batch: list[bytes]) -> None:
        try:
            stub.Export(to_protobuf(merge(batch)), timeout=target.timeout, metadata=metadata)
        except grpc.RpcError as err:
            code = err.code().name
            again = code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
            raise Refused(f"{code}: {err.details()}", again=again) from None

    return send
