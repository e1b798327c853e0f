"""The probe against real TLS servers: who is believed, what is asked, and the words for everything that goes wrong."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from karst import probe_cli
from karst.pb import controlplane_pb2 as pb
from karst.pb import controlplane_pb2_grpc as pb_grpc
from karst.probe import Client, parse_address, probe, probe_all
from karst.tunnel import Tunnel, Unreachable, client_context

ROOT = Path(__file__).resolve().parents[2]


class Authority:
    """A CA that issues what it is told to, right or wrong."""

    def __init__(self, name: str = "dev CA") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.cert = self._sign(self.name, self.key.public_key(), [], ca=True)

    def _sign(self, subject: x509.Name, key: Any, names: list[Any], *, ca: bool = False, days: int = 2) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=5))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pem(self) -> bytes:
        return bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, *uris: str, dns: str = "", days: int = 2) -> tuple[bytes, bytes]:
        """Return (certificate, key) as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[Any] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(dns)] if dns else []
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        cert = self._sign(subject, key.public_key(), names, days=days)
        form = serialization.PrivateFormat.PKCS8
        return cert.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, form, serialization.NoEncryption()
        )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def write_secrets(folder: Path, trust: Authority, own: Authority) -> Path:
    folder.mkdir(exist_ok=True)
    cert, key = own.issue("spiffe://karst.local/ops/operator")
    (folder / "ca.pem").write_bytes(trust.pem())
    (folder / "operator.crt").write_bytes(cert)
    (folder / "operator.key").write_bytes(key)
    return folder


@pytest.fixture
def secrets_dir(tmp_path: Path, authority: Authority) -> Path:
    return write_secrets(tmp_path / "secrets", authority, authority)


class Servicer(pb_grpc.ControlPlaneServicer):
    """Answers like a runner; `refuse` makes it answer with that status code instead."""

    refuse: grpc.StatusCode | None = None

    def HealthCheck(self, request: Any, context: grpc.ServicerContext) -> pb.HealthStatus:
        if self.refuse is not None:
            context.abort(self.refuse, "no")
        answer = pb.HealthStatus(
            status=pb.HealthStatus.SERVING, kind=pb.HealthStatus.SERVER, app_port=8000, revision="r1", service="web"
        )
        answer.since.FromNanoseconds(5)
        return answer


Serve = Callable[..., tuple[str, int]]


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    """`serve(pair)` starts a gRPC server that wants a client certificate, and returns its address."""
    servers = []

    def begin(pair: tuple[bytes, bytes] | None = None, client_ca: Authority | None = None, **attributes: Any) -> Any:
        cert, key = pair or authority.issue("spiffe://karst.local/svc/web", dns="web")
        server = grpc.server(futures.ThreadPoolExecutor(4))
        servicer = Servicer()
        for name, value in attributes.items():
            setattr(servicer, name, value)
        pb_grpc.add_ControlPlaneServicer_to_server(servicer, server)
        credentials = grpc.ssl_server_credentials([(key, cert)], (client_ca or authority).pem(), True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        return "127.0.0.1", port

    yield begin
    for server in servers:
        server.stop(None)


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[socket.socket], None]], tuple[str, int]]]:
    """`listen(handler)` gives every connection to ``handler``; for servers that misbehave."""
    doors = []

    def begin(handler: Callable[[socket.socket], None]) -> tuple[str, int]:
        door = socket.create_server(("127.0.0.1", 0))
        doors.append(door)

        def run() -> None:
            while True:
                try:
                    connection, _ = door.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    handler(connection)

        threading.Thread(target=run, daemon=True).start()
        return "127.0.0.1", door.getsockname()[1]

    yield begin
    for door in doors:
        door.shutdown(socket.SHUT_RDWR)
        door.close()


def server_context(folder: Path, authority: Authority) -> ssl.SSLContext:
    """What a plain OpenSSL server of the service `web` would use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert, key = authority.issue("spiffe://karst.local/svc/web", dns="web")
    (folder / "pair").write_bytes(cert + key)
    context.load_cert_chain(folder / "pair")
    context.set_alpn_protocols(["h2"])
    return context


def test_a_serving_service_is_reported_with_all_it_says(serve: Serve, secrets_dir: Path) -> None:
    health = probe("web", address=serve(), secrets_dir=secrets_dir)
    assert health.to_dict() == {
        "service": "web",
        "status": "SERVING",
        "revision": "r1",
        "reason": "",
        "exit_code": None,
        "app_port": 8000,
        "kind": "server",
        "restarts": 0,
        "stack": "",
        "since_ns": 5,
        "pods": 1,
        "healthy_pods": None,
    }
    assert health.healthy


def test_one_connection_answers_again_and_again(serve: Serve, secrets_dir: Path) -> None:
    with Client("web", address=serve(), secrets_dir=secrets_dir) as client:
        assert [client.health().status for _ in range(3)] == ["SERVING"] * 3


@pytest.mark.parametrize(
    ("uris", "found"),
    [
        (["spiffe://karst.local/svc/other"], "spiffe://karst.local/svc/other"),
        (["spiffe://evil.example/svc/web"], "spiffe://evil.example/svc/web"),
        (
            ["spiffe://karst.local/svc/web", "spiffe://karst.local/svc/b"],
            "spiffe://karst.local/svc/web, spiffe://karst",
        ),
        ([], "no identity"),
    ],
)
def test_another_identity_of_the_same_ca_is_not_believed(
    serve: Serve, secrets_dir: Path, authority: Authority, uris: list[str], found: str
) -> None:
    """The DNS name alone (`web`, right in each case) proves nothing."""
    health = probe("web", address=serve(authority.issue(*uris, dns="web")), secrets_dir=secrets_dir)
    assert health.status == "UNREACHABLE"
    assert f"its certificate says {found}" in health.reason


def test_a_server_of_a_foreign_ca_is_not_trusted(serve: Serve, secrets_dir: Path, authority: Authority) -> None:
    foreign = Authority("other CA").issue("spiffe://karst.local/svc/web", dns="web")
    health = probe("web", address=serve(foreign), secrets_dir=secrets_dir)
    assert f"is not trusted by {secrets_dir}/ca.pem" in health.reason


def test_an_expired_certificate_is_named_as_such(serve: Serve, secrets_dir: Path, authority: Authority) -> None:
    pair = authority.issue("spiffe://karst.local/svc/web", dns="web", days=-1)
    assert "certificate has expired" in probe("web", address=serve(pair), secrets_dir=secrets_dir).reason


def test_a_server_that_refuses_our_certificate_is_told_apart_from_one_that_is_down(
    serve: Serve, listen: Any, tmp_path: Path, authority: Authority
) -> None:
    """In TLS 1.3 the refusal comes after our side of the handshake is done; Envoy says why, gRPC's server does not."""
    secrets_dir = write_secrets(tmp_path / "foreign", authority, Authority("other CA"))
    silent = probe("web", address=serve(), secrets_dir=secrets_dir)
    assert silent.status == "UNREACHABLE"
    assert "it refused our certificate, most likely" in silent.reason
    context = server_context(tmp_path, authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.pem().decode())
    address = listen(lambda connection: context.wrap_socket(connection, server_side=True).close())
    assert "does not trust the CA of our certificate" in probe("web", address=address, secrets_dir=secrets_dir).reason


def test_nobody_listening_is_said_so(secrets_dir: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = held.getsockname()
        health = probe("web", address=address, secrets_dir=secrets_dir)
    assert (health.status, health.healthy) == ("UNREACHABLE", False)
    assert health.reason.startswith(f"`web` at 127.0.0.1:{address[1]}: connection refused")


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("close", "no running service answers to that name"),
        ("plain", "it does not speak TLS"),
        ("silent", "no TLS answer within 0.3 s"),
    ],
)
def test_a_server_without_tls_is_described(listen: Any, secrets_dir: Path, behaviour: str, words: str) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(10 if behaviour == "close" else 5000)
        if behaviour == "plain":
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        if behaviour == "silent":
            time.sleep(0.5)

    assert words in probe("web", address=listen(handle), secrets_dir=secrets_dir, timeout=0.3).reason


def test_tls_1_2_is_not_spoken_and_sni_is_the_name_that_was_asked_for(
    listen: Any, tmp_path: Path, secrets_dir: Path, authority: Authority
) -> None:
    context = server_context(tmp_path, authority)
    asked: list[str] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    address = listen(handle)
    with Tunnel("web", address, secrets_dir, sni="web-pod-1234567890-abcdef"):
        assert asked == ["web-pod-1234567890-abcdef"]
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(Unreachable, match=r"does not speak TLS 1\.3"):
        Tunnel("web", address, secrets_dir)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "does not let the operator in"),
        (grpc.StatusCode.UNAVAILABLE, "its sidecar answers, but its runner does not (yet)"),
        (grpc.StatusCode.UNIMPLEMENTED, "not as a runner of this kit"),
        (grpc.StatusCode.INTERNAL, "INTERNAL: no"),
    ],
)
def test_a_refusal_behind_tls_has_its_own_words(
    serve: Serve, secrets_dir: Path, code: grpc.StatusCode, words: str
) -> None:
    assert words in probe("web", address=serve(refuse=code), secrets_dir=secrets_dir).reason


def test_missing_identities_name_the_file(tmp_path: Path) -> None:
    assert probe("web", secrets_dir=tmp_path).reason == f"{tmp_path}/ca.pem does not exist"


def test_several_services_are_asked_in_order_and_nothing_is_left_behind(
    serve: Serve, secrets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "sockets"))
    (tmp_path / "sockets").mkdir()
    descriptors = len(os.listdir("/proc/self/fd"))
    address = serve()
    names = ["web", "other", "web"]
    answers = probe_all(names, address=address, secrets_dir=secrets_dir)
    assert [a.service for a in answers] == names
    assert [a.status for a in answers] == ["SERVING", "UNREACHABLE", "SERVING"]
    assert list((tmp_path / "sockets").iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("tunnel-")]
    assert len(os.listdir("/proc/self/fd")) < descriptors + 12, "gRPC keeps a few of its own"


def test_the_command_line_says_it_by_exit_code_and_json(
    serve: Serve, secrets_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, port = serve()
    common = ["--address", f"{host}:{port}", "--secrets", str(secrets_dir)]
    assert probe_cli.main(["web", *common]) == 0
    assert capsys.readouterr().out == "web  SERVING  r1  port 8000\n"
    assert probe_cli.main(["web", "other", "--json", *common]) == 5
    assert [item["status"] for item in json.loads(capsys.readouterr().out)] == ["SERVING", "UNREACHABLE"]


def test_an_address_that_is_none_is_refused_with_an_example() -> None:
    assert parse_address("[::1]:15000") == ("::1", 15000)
    with pytest.raises(Exception, match="not HOST:PORT"):
        parse_address("localhost")


def test_the_script_starts_without_heavy_modules() -> None:
    """`scripts/health` must say `connection refused` without first importing gRPC."""
    code = "import sys, karst.probe_cli; print({'grpc', 'google.protobuf', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "scripts")}, capture_output=True)
    assert done.stdout == b"set()\n", done.stderr


def test_a_pair_read_in_the_middle_of_a_rotation_is_read_again(secrets_dir: Path, authority: Authority) -> None:
    """Certificate and key are two files, and a rotation replaces one after the other."""
    cert, key = authority.issue("spiffe://karst.local/ops/operator")
    (secrets_dir / "operator.crt").write_bytes(cert)
    finishing = threading.Timer(0.05, (secrets_dir / "operator.key").write_bytes, [key])
    finishing.start()
    client_context(secrets_dir)
    finishing.join()


def test_a_pair_that_stays_apart_is_told(secrets_dir: Path, authority: Authority) -> None:
    (secrets_dir / "operator.crt").write_bytes(authority.issue("spiffe://karst.local/ops/operator")[0])
    with pytest.raises(Unreachable, match="do not belong together"):
        client_context(secrets_dir)
