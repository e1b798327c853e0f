"""Spans on their way to a collector: the standard variables, the three protocols, and collectors that fail."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from karst_runner.collector import Collector, Target, merge, target, to_protobuf
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def span(name: str) -> bytes:
    """One OTLP/JSON object as the app sends it."""
    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]},
                    "scopeSpans": [
                        {
                            "scope": {"name": "flask"},
                            "spans": [
                                {
                                    "traceId": TRACE,
                                    "spanId": SPAN,
                                    "parentSpanId": PARENT,
                                    "name": name,
                                    "kind": 2,
                                    "startTimeUnixNano": "1",
                                    "endTimeUnixNano": "2",
                                    "links": [{"traceId": TRACE, "spanId": PARENT}],
                                    "somethingNew": 1,
                                }
                            ],
                        }
                    ],
                }
            ]
        },
        separators=(",", ":"),
    ).encode()


ENDPOINT, OWN = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("env", "protocol", "host", "port", "path", "tls"),
    [
        ({ENDPOINT: "http://otel:4317"}, "grpc", "otel", 4317, "/v1/traces", False),
        ({ENDPOINT: "http://otel:4318"}, "http/json", "otel", 4318, "/v1/traces", False),
        ({ENDPOINT: "http://otel:4318/base/"}, "http/json", "otel", 4318, "/base/v1/traces", False),
        ({ENDPOINT: "https://otel.example"}, "http/json", "otel.example", 443, "/v1/traces", True),
        ({ENDPOINT: "otel:4317"}, "grpc", "otel", 4317, "/v1/traces", False),
        ({ENDPOINT: "http://a:1", OWN: "http://b:2/x"}, "http/json", "b", 2, "/x", False),
        ({ENDPOINT: "http://a:1", PROTOCOL: "grpc"}, "grpc", "a", 1, "/v1/traces", False),
        ({ENDPOINT: "http://a:4317", PROTOCOL: "http/protobuf"}, "http/protobuf", "a", 4317, "/v1/traces", False),
    ],
)
def test_the_environment_says_where_to_and_how(
    env: dict[str, str], protocol: str, host: str, port: int, path: str, tls: bool
) -> None:
    where = target(env)
    assert where is not None
    assert (where.protocol, where.host, where.port, where.path, where.tls) == (protocol, host, port, path, tls)


@pytest.mark.parametrize("env", [{}, {ENDPOINT: ""}, {ENDPOINT: "http://a:1", "OTEL_TRACES_EXPORTER": "console"}])
def test_without_a_collector_spans_go_to_stdout(env: dict[str, str]) -> None:
    assert target(env) is None


def test_headers_and_timeout_are_read_as_the_specification_writes_them() -> None:
    env = {
        ENDPOINT: "http://a:1",
        "OTEL_EXPORTER_OTLP_HEADERS": "Api-Key=a%20b,x=1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
    }
    where = target(env)
    assert where is not None
    assert (where.headers, where.timeout) == ({"api-key": "a b", "x": "1"}, 2.5)


def test_an_endpoint_that_is_none_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="must be like http://host:4317, not 'ftp://x'"):
        target({ENDPOINT: "ftp://x"})


def test_several_objects_become_one() -> None:
    merged = json.loads(merge([span("a"), span("b")]))
    assert [r["scopeSpans"][0]["spans"][0]["name"] for r in merged["resourceSpans"]] == ["a", "b"]
    spaced = json.dumps(json.loads(span("c"))).encode()
    assert len(json.loads(merge([span("a"), spaced]))["resourceSpans"]) == 2


def test_ids_survive_the_way_into_protobuf() -> None:
    found = to_protobuf(span("a")).resource_spans[0].scope_spans[0].spans[0]
    assert (found.trace_id.hex(), found.span_id.hex(), found.parent_span_id.hex()) == (TRACE, SPAN, PARENT)
    assert found.links[0].span_id.hex() == PARENT
    assert (found.name, found.kind, found.end_time_unix_nano) == ("a", 2, 2)


class Web:
    """An HTTP collector that keeps what it gets and answers as ``statuses`` say, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(web.statuses.pop(0) if web.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


Begin = Callable[..., Collector]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def begin(said: list[str]) -> Begin:
    def start(port: int, protocol: str = "http/json", **more: Any) -> Collector:
        collector = Collector(Target("127.0.0.1", port, "/v1/traces", False, protocol, **more), said.append)
        collector.start()
        return collector

    return start


def test_json_is_passed_on_in_batches(web: Web, begin: Begin, said: list[str]) -> None:
    collector = begin(web.server.server_port, headers={"api-key": "k"})
    for name in "abc":
        collector.put(span(name))
    collector.flush(5)
    path, headers, body = web.got[0]
    assert (path, headers["content-type"], headers["api-key"]) == ("/v1/traces", "application/json", "k")
    assert len(web.got) == 1
    assert len(json.loads(body)["resourceSpans"]) == 3
    assert said == []


def test_a_collector_that_knows_protobuf_only_gets_protobuf_from_then_on(web: Web, begin: Begin) -> None:
    web.statuses = [415]
    collector = begin(web.server.server_port)
    collector.put(span("a"))
    collector.flush(5)
    collector.put(span("b"))
    collector.flush(5)
    kinds = [headers["content-type"] for _, headers, _ in web.got]
    assert kinds == ["application/json", "application/x-protobuf", "application/x-protobuf"]
    request = pb.ExportTraceServiceRequest.FromString(web.got[2][2])
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "b"


def test_a_collector_that_is_busy_is_asked_again(web: Web, begin: Begin, said: list[str]) -> None:
    web.statuses = [503]
    collector = begin(web.server.server_port)
    collector.put(span("a"))
    deadline = time.monotonic() + 5
    while len(web.got) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert web.got[0][2] == web.got[1][2]
    assert said == []


def test_a_collector_that_refuses_is_told_of_once_and_costs_no_memory(web: Web, begin: Begin, said: list[str]) -> None:
    web.statuses = [401] * 1000
    collector = begin(web.server.server_port)
    for _ in range(5000):
        collector.put(span("x" * 500))
    collector.flush(5)
    assert collector._size == 0
    assert len(said) == 1
    assert said[0].startswith(f"traces do not reach 127.0.0.1:{web.server.server_port} (HTTP status 401); ")


def test_a_collector_that_is_not_there_never_holds_up_the_end(begin: Begin, said: list[str]) -> None:
    collector = begin(9)
    collector.put(span("a"))
    began = time.monotonic()
    collector.flush(0.5)
    assert time.monotonic() - began < 1.5


def test_grpc_is_spoken_where_it_is_wanted(begin: Begin, said: list[str]) -> None:
    got: list[tuple[Any, dict[str, Any]]] = []

    class Service(pb_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
            got.append((request, dict(context.invocation_metadata())))
            if len(got) == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
            return pb.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_TraceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        collector = begin(port, "grpc", headers={"api-key": "k"})
        collector.put(span("a"))
        deadline = time.monotonic() + 10
        while len(got) < 2:
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        request, metadata = got[1]
        assert request.resource_spans[0].resource.attributes[0].value.string_value == "web"
        assert metadata["api-key"] == "k"
        assert said == []
    finally:
        server.stop(None)
