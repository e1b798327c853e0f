"""The health of an app without a runner: what the sidecar's `answer` makes of what it sees, against a real socket."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from karst.pb import controlplane_pb2 as pb

SCRIPT = Path(__file__).resolve().parents[2] / "modules" / "karst_service" / "image" / "sidecar" / "answer"


@pytest.fixture(scope="module")
def answer() -> Any:
    """The script as a module."""
    loader = SourceFileLoader("karst_answer", str(SCRIPT))
    spec = importlib.util.spec_from_loader("karst_answer", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Site(BaseHTTPRequestHandler):
    """Answers with the status that its server has at the moment."""

    def do_GET(self) -> None:
        self.server.seen = dict(self.headers)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def site() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.status = 200  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def status(app: Any) -> pb.HealthStatus:
    return pb.HealthStatus.FromString(app.health_check())


def test_an_app_that_does_not_listen_yet_is_starting_and_says_on_which_port(answer: Any) -> None:
    env = {"KARST_PORT": "8080", "KARST_SERVICE": "web", "KARST_STACK": "s", "KARST_REVISION": "r" * 40}
    found = status(answer.App(env, lambda: None))
    assert (found.status, found.reason) == (pb.HealthStatus.STARTING, "does not listen on port 8080 yet")
    assert (found.service, found.stack, found.revision, found.kind) == ("web", "s", "r" * 40, pb.HealthStatus.SERVER)
    assert found.since.seconds > 1_700_000_000


def test_without_a_path_it_serves_once_it_has_listened_for_a_second(answer: Any, site: Any, monkeypatch: Any) -> None:
    app = answer.App({}, lambda: site.server_address)
    first = status(app)
    assert (first.status, first.reason) == (pb.HealthStatus.STARTING, "listens, and has not been up for long yet")
    monkeypatch.setattr(answer, "STABLE", 0)
    found = status(app)
    assert (found.status, found.app_port) == (pb.HealthStatus.SERVING, site.server_address[1])
    assert not found.HasField("exit_code")


def test_with_a_path_its_answer_decides_and_carries_no_trace(answer: Any, site: Any) -> None:
    app = answer.App({"KARST_HEALTH": "/ready"}, lambda: site.server_address)
    site.status = 503
    assert (status(app).status, status(app).reason) == (pb.HealthStatus.STARTING, "GET /ready answered 503")
    site.status = 204
    assert status(app).status == pb.HealthStatus.SERVING
    site.status = 500
    assert (status(app).status, status(app).reason) == (pb.HealthStatus.NOT_SERVING, "GET /ready answered 500")
    assert site.seen["traceparent"].endswith("-00")


def test_an_app_that_has_gone_is_not_serving(answer: Any, site: Any) -> None:
    here: list[Any] = [site.server_address]
    app = answer.App({"KARST_HEALTH": "/"}, lambda: here[0])
    assert status(app).status == pb.HealthStatus.SERVING
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        here[0] = unheard.getsockname()
        assert status(app).reason == f"nothing listens on port {here[0][1]} any more"
    here[0] = None
    assert status(app).status == pb.HealthStatus.NOT_SERVING


def test_what_speaks_no_http_has_no_path_to_answer(answer: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"-ERR unknown command\r\n"), daemon=True).start()
        assert answer.trouble(server.getsockname(), "/x") == "GET /x was not answered in HTTP"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"resources":[{"endpoints":[]}]}', None),
        ("", None),
        (
            '{"resources":[{"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":'
            '{"address":"127.0.0.1","port_value":80}}}}]}]}]}',
            ("127.0.0.1", 80),
        ),
    ],
)
def test_the_door_is_read_from_what_envoy_is_told(answer: Any, tmp_path: Path, text: str, expected: Any) -> None:
    (tmp_path / "eds").write_text(text)
    assert answer.door(str(tmp_path / "eds")) == expected


def ask(path: Path, method: str, kind: type[Message]) -> tuple[int, Message]:
    """One request as Envoy sends it; (HTTP status, message)."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        head = f"POST {method} HTTP/1.1\r\nhost: web\r\ncontent-type: application/grpc\r\ncontent-length: 2\r\n\r\n"
        client.sendall(head.encode() + b"\n\0")
        first, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    message = kind()
    message.ParseFromString(body)
    return int(first.split()[1]), message


def test_both_health_services_are_answered_over_the_socket_and_nothing_else(
    answer: Any, site: Any, tmp_path: Path
) -> None:
    app = answer.App({"KARST_HEALTH": "/", "KARST_SERVICE": "wéb"}, lambda: site.server_address)
    with answer.Server(str(tmp_path / "s"), app) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        code, own = ask(tmp_path / "s", "/karst.v1.ControlPlane/HealthCheck", pb.HealthStatus)
        assert (code, own.service, own.status) == (200, "wéb", pb.HealthStatus.SERVING)  # type: ignore[attr-defined]
        _, standard = ask(tmp_path / "s", "/grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse)
        assert standard.status == health_pb2.HealthCheckResponse.SERVING  # type: ignore[attr-defined]
        assert ask(tmp_path / "s", "/karst.v1.ControlPlane/StreamLogs", pb.LogLine)[0] == 404
        server.shutdown()
