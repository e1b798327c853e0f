"""PID 1 of a Swarm task: what it asks its sidecar, over real mutual TLS, and what it makes of the answers."""

from __future__ import annotations

import importlib.util
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from tests.support import certificates

IMAGE = Path(__file__).resolve().parents[2] / "modules" / "karst_service" / "image" / "task"
PORT = '{"address":"127.0.0.1","port_value":8000}'


@pytest.fixture(scope="module")
def task() -> Any:
    """The script as a module."""
    loader = SourceFileLoader("karst_task", str(IMAGE / "task"))
    spec = importlib.util.spec_from_loader("karst_task", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Sidecar(BaseHTTPRequestHandler):
    """Answers as Envoy does: with the server's status of the app, and of the way to it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert (self.path, self.headers["te"]) == ("/grpc.health.v1.Health/Check", "trailers")
        health_pb2.HealthCheckRequest.FromString(body[5:])
        message = health_pb2.HealthCheckResponse(status=self.server.status).SerializeToString()  # type: ignore[attr-defined]
        self._answer(200, b"\0" + len(message).to_bytes(4, "big") + message)

    def do_GET(self) -> None:
        assert self.path == "/.karst/ready"
        self._answer(self.server.ready, b"")  # type: ignore[attr-defined]

    def _answer(self, status: int, body: bytes) -> None:
        self.server.connections.add(self.client_address)  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def sidecar(task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A sidecar of `web` that takes members of the mesh alone, and the folders of a task."""
    key = certificates.new_key()
    ca = certificates.authority("test", key)
    (tmp_path / "ca.pem").write_bytes(certificates.pem(ca))
    uri = "spiffe://karst.local/svc/web"
    (tmp_path / "svid.pem").write_bytes(certificates.leaf(ca, key, uris=[uri], dns=["web"]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "svid.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), Sidecar) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.status, server.ready, server.connections = 1, 200, set()  # type: ignore[attr-defined]
        monkeypatch.setattr(task, "SECRETS", str(tmp_path))
        monkeypatch.setattr(task, "DOOR", server.server_address)
        monkeypatch.setattr(task, "listens", lambda: True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def test_a_serving_app_behind_a_ready_sidecar_is_asked_on_one_connection(task: Any, sidecar: Any) -> None:
    asker = task.Asker("web")
    assert [asker.ask() for _ in range(3)] == [("SERVING", "")] * 3
    assert len(sidecar.connections) == 1


def test_an_app_that_does_not_serve_counts_for_nothing_and_may_come_later(task: Any, sidecar: Any) -> None:
    asker = task.Asker("web")
    sidecar.status = 2
    assert asker.ask() == ("NOT_SERVING", "the app is not serving: its own lines say why")
    sidecar.status = 1
    assert asker.ask()[0] == "SERVING"


def test_a_sidecar_that_does_not_get_through_counts_only_where_the_app_listens(
    task: Any, sidecar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar.ready = 503
    assert task.Asker("web").ask()[1] == "the app listens, and its sidecar does not get through to it"
    monkeypatch.setattr(task, "listens", lambda: False)
    assert task.Asker("web").ask()[0] == "SERVING", "a worker has no port"


def test_another_services_certificate_is_not_taken_for_its_own(task: Any, sidecar: Any) -> None:
    assert task.Asker("shop").ask() == ("NOT_SERVING", "the sidecar does not answer (SSLCertVerificationError)")


def test_a_sidecar_that_is_not_there_yet_is_asked_again(task: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(task, "SECRETS", str(tmp_path))
    assert task.Asker("web").ask() == ("NOT_SERVING", "there is no certificate")


@pytest.mark.parametrize(("text", "found"), [(PORT, True), ('{"endpoints":[]}', False), (None, False)])
def test_a_port_is_found_where_the_sidecar_wrote_one(task: Any, tmp_path: Path, text: str | None, found: bool) -> None:
    if text is not None:
        (tmp_path / "app.eds.json").write_text(text)
    assert task.listens(str(tmp_path / "app.eds.json")) is found


@pytest.mark.parametrize(
    ("said", "code"), [("SERVING ", 0), ("NOT_SERVING is starting", 1), ("NOT_SERVING SERVING", 1), (None, 1)]
)
def test_swarm_is_told_what_was_found_last(tmp_path: Path, said: str | None, code: int) -> None:
    script = (IMAGE / "check").read_text().replace("/run/karst/health", str(tmp_path / "health"))
    if said is not None:
        (tmp_path / "health").write_text(f"{said}\n")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.strip() == (said.strip() if said else "unknown")
