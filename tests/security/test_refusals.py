"""Everything that the mesh refuses, asked from the host through the edge and from a neighbour, with real clients."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from karst.toolchain.record import tool
from tests.security.conftest import Record
from tests.support.kit import docker
from tests.support.mesh import Mesh

HANDSHAKE = (
    "another authority",
    "expired",
    "not yet valid",
    "another trust domain",
    "no URI",
    "a URI that is no service's",
)
HOST, NEIGHBOUR = "host, through the edge", "neighbour container"


def python_ssl(mesh: Mesh, certificate: str, service: str = "api", path: str = "/") -> str:
    """One request from the host through the edge: the status, or how it failed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(mesh.secrets / "ca.pem")
    if certificate:
        context.load_cert_chain(mesh.certificates / f"{certificate}.pem")
    try:
        raw = socket.create_connection(("127.0.0.1", mesh.port(15000)), timeout=5)
        with context.wrap_socket(raw, server_hostname=service) as tls:
            tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n\r\n".encode())
            response = http.client.HTTPResponse(tls)
            response.begin()
            return str(response.status)
    except ssl.SSLError as err:
        return (err.reason or str(err)).lower().replace("_", " ")
    except (OSError, http.client.HTTPException) as err:
        return type(err).__name__


def from_neighbour(mesh: Mesh, certificate: str, service: str = "api", path: str = "/", **more: str) -> str:
    answer = mesh.knock(f"{certificate}.pem" if certificate else "", service, path=path, **more)
    error = re.sub(r"^\w+: \[SSL: \w+\] | \(_ssl\.c:\d+\)$", "", answer.get("error", ""))
    return str(answer.get("status") or error)


def test_the_same_requests_with_nothing_wrong_are_answered(mesh: Mesh, record: Record) -> None:
    """The measure for all that follows."""
    for where, seen in ((HOST, python_ssl(mesh, "good")), (NEIGHBOUR, from_neighbour(mesh, "good"))):
        record("(a good certificate)", where, "Python ssl", seen)
        assert seen == "200"


@pytest.mark.parametrize("certificate", ["", *HANDSHAKE])
def test_a_certificate_that_is_not_a_members_ends_the_handshake(mesh: Mesh, record: Record, certificate: str) -> None:
    for where, seen in ((HOST, python_ssl(mesh, certificate)), (NEIGHBOUR, from_neighbour(mesh, certificate))):
        record(certificate or "no certificate", where, "Python ssl", seen)
        assert not seen.isdecimal(), seen


def test_two_identities_are_none(mesh: Mesh, record: Record) -> None:
    for where, seen in ((HOST, python_ssl(mesh, "two URIs")), (NEIGHBOUR, from_neighbour(mesh, "two URIs"))):
        record("two URIs in one certificate", where, "Python ssl", seen)
        assert seen == "403"


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("TLS 1.2", ["-tls1_2", "-cert", "good.pem", "-key", "good.pem"]),
        ("no certificate", []),
        ("expired", ["-cert", "expired.pem", "-key", "expired.pem"]),
        ("another authority", ["-cert", "another authority.pem", "-key", "another authority.pem"]),
    ],
)
def test_openssl_is_refused(mesh: Mesh, record: Record, what: str, options: list[str]) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("THERE IS NO openssl")
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{mesh.port(15000)}", "-servername", "api"),
            *("-CAfile", str(mesh.secrets / "ca.pem"), "-ign_eof", *options),
        ],
        cwd=mesh.certificates,
        input="GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "HTTP/1.1 200" not in done.stdout
    alerts = [line for line in done.stderr.splitlines() if "alert" in line]
    assert alerts, done.stderr
    record(what, HOST, "openssl s_client", alerts[0].split(":")[5].strip())


def test_grpcurl_is_refused_without_a_members_certificate(mesh: Mesh, record: Record) -> None:
    program = tool("grpcurl")
    if program is None:
        pytest.skip("GRPCURL COULD NOT BE HAD")
    root = Path(__file__).resolve().parents[2]
    for what, certificate in (("no certificate", ""), ("another authority", "another authority"), ("good", "web")):
        given = mesh.certificates / f"{certificate}.pem"
        done = subprocess.run(
            [
                *(program, "-cacert", str(mesh.secrets / "ca.pem"), "-servername", "no", "-authority", "no"),
                *(("-cert", str(given), "-key", str(given)) if certificate else ()),
                *("-import-path", str(root / "proto"), "-proto", "controlplane.proto", "-max-time", "5"),
                *(f"127.0.0.1:{mesh.port(15000)}", "karst.v1.ControlPlane/StreamLogs"),
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode != 0
        # grpcurl's own warning about its options comes first
        seen = " ".join(word for line in done.stderr.splitlines() if "Warning:" not in line for word in line.split())
        assert ("PermissionDenied" if what == "good" else "Failed") in seen or "certificate" in seen, seen
        what = "logs of a service, asked by another service" if what == "good" else what
        record(what, HOST, "grpcurl", re.sub('^(Failed to dial target host "[^"]*": |ERROR: )', "", seen))


def test_sslyze_finds_tls_1_3_and_nothing_else(mesh: Mesh, record: Record, tmp_path: Path) -> None:
    program = os.environ.get("KARST_TEST_SSLYZE", "")
    if not Path(program).is_file():
        pytest.skip("SSLYZE IS NOT THERE: `make security` brings it")
    report = tmp_path / "sslyze.json"
    good = str(mesh.certificates / "good.pem")
    subprocess.run(
        [
            *(program, "--sni", "api", "--cert", good, "--key", good, "--json_out", str(report), "--sslv2", "--sslv3"),
            *("--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--reneg", f"127.0.0.1:{mesh.port(15000)}"),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    [result] = json.loads(report.read_text())["server_scan_results"]
    assert result["scan_status"] == "COMPLETED", result["connectivity_error_trace"]
    found = result["scan_result"]
    versions = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    accepted = {v: len(found[f"{v}_cipher_suites"]["result"]["accepted_cipher_suites"]) for v in versions}
    assert {version for version, number in accepted.items() if number} == {"tls_1_3"}
    record("every version from SSL 2 to TLS 1.3", HOST, "sslyze", f"TLS 1.3 only, {accepted['tls_1_3']} cipher suites")


def test_tls_1_2_and_plaintext_are_refused_from_a_neighbour(mesh: Mesh, record: Record) -> None:
    seen = from_neighbour(mesh, "good", maximum="TLSv1_2")
    assert not seen.isdecimal()
    record("TLS 1.2", NEIGHBOUR, "Python ssl", seen)
    [answer] = mesh.ask("neighbour", {"host": "api", "port": 15000, "send": "GET / HTTP/1.1\r\nHost: api\r\n\r\n"})
    assert answer.get("answer", "") == ""
    record("plaintext to 15000", NEIGHBOUR, "socket", answer.get("error", "closed without an answer"))


def test_a_caller_that_is_not_on_the_list_is_refused(mesh: Mesh, record: Record) -> None:
    for where, seen in ((HOST, python_ssl(mesh, "web", "no")), (NEIGHBOUR, from_neighbour(mesh, "web", "no"))):
        record("a caller that is not on `allow:`", where, "Python ssl", seen)
        assert seen == "403"
    seen = str(mesh.call("web", "http://no/")["status"])
    record("a caller that is not on `allow:`", "app, through its sidecar", "http.client", seen)
    assert seen == "403"


@pytest.mark.parametrize("path", ["/.karst/stats", "/x/../.karst/stats", "//.karst//stats", "/%2ekarst/stats"])
def test_figures_are_the_operators_in_any_spelling(mesh: Mesh, record: Record, path: str) -> None:
    seen = from_neighbour(mesh, "web", path=path)
    record(f"figures of another service, `{path}`", NEIGHBOUR, "Python ssl", seen)
    assert seen == "403"


@pytest.mark.parametrize("url", ["http://-api/", "http://127.0.0.1:15001/", "http://127.1:50051/"])
def test_outbound_refuses_what_is_no_name_and_the_kits_own_ports(mesh: Mesh, record: Record, url: str) -> None:
    seen = str(mesh.call("web", url)["status"])
    record(f"outbound to `{url}` through 15001", "app, through its sidecar", "http.client", seen)
    assert seen == "403"


def test_a_server_with_another_identity_is_refused(mesh: Mesh, record: Record) -> None:
    seen = str(mesh.call("api", "http://impostor/")["status"])
    record("a server with another service's certificate", "app, through its sidecar", "http.client", seen)
    assert seen == "503"


@pytest.mark.parametrize("port", [8000, 15001, 9901, 50051])
def test_no_other_port_answers_a_neighbour(mesh: Mesh, record: Record, port: int) -> None:
    [answer] = mesh.ask("neighbour", {"host": "web", "port": port, "send": "GET / HTTP/1.1\r\nHost: web\r\n\r\n"})
    record(f"port {port} of a pod whose app binds 0.0.0.0", NEIGHBOUR, "socket", answer.get("error", "answered"))
    assert answer == {"error": "TimeoutError: timed out"}


def test_dockers_socket_is_mounted_nowhere_and_seccomp_is_on(mesh: Mesh, record: Record) -> None:
    for role in ("pod", "app", "sidecar"):
        told = docker("inspect", mesh.name(f"{role}-web"))
        assert "docker.sock" not in told
        assert "seccomp" not in told  # the default profile is on unless an option turns it off
        status = docker("exec", mesh.name(f"{role}-web"), "cat", "/proc/1/status")
        assert "Seccomp:\t2" in status
        record(f"system calls of the {role}", "inside", "/proc/1/status", "Seccomp: 2 (filtered), no docker.sock")


def test_a_fork_bomb_is_bounded_by_the_limit_that_apps_have(mesh: Mesh, record: Record) -> None:
    """The same kind of limit, low, and for a user that nobody else is: it counts all of a user on the host."""
    bomb = """
import os, sys, time
number = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        number += 1
except OSError as err:
    print(number, err.strerror)
"""
    options = ("--rm", "--ulimit", "nproc=150:150", "--user", "54321:54321", "--network", "none", "--cap-drop", "ALL")
    seen = docker("run", *options, mesh.base, "python3", "-c", bomb)
    record("fork bomb, with `nproc` at 150", "inside a container", "Python", seen)
    number, reason = seen.split(" ", 1)
    assert 100 < int(number) < 150
    assert reason == "Resource temporarily unavailable"
