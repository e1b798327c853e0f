"""What the mesh refuses, asked by a neighbour container on the same network."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections import Counter
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support import certificates as forge
from tests.support.kit import docker
from tests.support.mesh import Mesh

WEB = "spiffe://karst.local/svc/web"
HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def forged(mesh: Mesh) -> Mesh:
    """The neighbour holds certificates that nobody should take; all but one are signed by the right authority."""
    authority = x509.load_pem_x509_certificate((mesh.secrets / "ca.pem").read_bytes())
    key = load_pem_private_key((mesh.secrets / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    foreign_key = forge.new_key()
    foreign = forge.authority("foreign", foreign_key)
    made = {
        "fresh": forge.leaf(authority, key, uris=[WEB]),
        "foreign CA": forge.leaf(foreign, foreign_key, uris=[WEB]),
        "expired": forge.leaf(authority, key, uris=[WEB], begin=-2 * HOUR, end=-HOUR),
        "not yet valid": forge.leaf(authority, key, uris=[WEB], begin=HOUR, end=2 * HOUR),
        "other trust domain": forge.leaf(authority, key, uris=["spiffe://karst.example/svc/web"]),
        "trust domain without its dot": forge.leaf(authority, key, uris=["spiffe://karstxlocal/svc/web"]),
        "no URI": forge.leaf(authority, key, uris=[], dns=["web", "web.iacnet"]),
        "two URIs": forge.leaf(authority, key, uris=[WEB, "spiffe://karst.local/ops/operator"]),
        "two URIs, operator first": forge.leaf(authority, key, uris=["spiffe://karst.local/ops/operator", WEB]),
        "other kind": forge.leaf(authority, key, uris=["spiffe://karst.local/user/root"]),
        "longer path": forge.leaf(authority, key, uris=["spiffe://karst.local/svc/web/extra"]),
    }
    for name, content in made.items():
        mesh.put(f"{name}.pem", content)
    return mesh


def test_a_certificate_of_the_right_authority_is_let_in(forged: Mesh) -> None:
    """The measure for all that follows: the same request with nothing wrong."""
    answer = forged.knock("fresh.pem", "api")
    assert (answer["status"], json.loads(answer["body"])["me"]) == (200, "api")


REFUSED = {
    "": "no_cert",
    "foreign CA.pem": "error",
    "expired.pem": "error",
    "not yet valid.pem": "error",
    "other trust domain.pem": "san",
    "trust domain without its dot.pem": "san",
    "no URI.pem": "san",
    "other kind.pem": "san",
    "longer path.pem": "san",
}


def test_the_handshake_fails_for_the_reason_that_there_is(forged: Mesh) -> None:
    """No client gets an answer, and Envoy's own counts rise by as many as there are with this very reason."""

    def refused() -> Counter[str]:
        said = forged.knock("ops-operator.pem", "api", path="/.karst/stats?filter=ssl.fail_verify_")["body"]
        found: Counter[str] = Counter()
        for line in said.splitlines():
            name, _, value = line.rpartition(": ")
            found[name.rpartition("ssl.fail_verify_")[2]] += int(value)
        return found

    before = refused()
    tasks = [{"host": "api", "port": 15000, "tls": True, "cert": certificate} for certificate in REFUSED]
    answers = dict(zip(REFUSED, forged.ask("neighbour", *tasks), strict=True))
    assert {certificate: answer for certificate, answer in answers.items() if "status" in answer} == {}
    assert refused() - before == Counter(REFUSED.values()), answers


def test_two_identities_in_one_certificate_are_none(forged: Mesh) -> None:
    """Envoy's own checks accept it: the first name that fits would win."""
    certificates = ("two URIs.pem", "two URIs, operator first.pem")
    paths = ("/", "/.karst/stats", "/karst.v1.ControlPlane/StreamLogs")
    tasks = [
        {"host": "api", "port": 15000, "tls": True, "cert": certificate, "path": path}
        for certificate in certificates
        for path in paths
    ]
    assert [answer.get("status") for answer in forged.ask("neighbour", *tasks)] == [403] * 6


def test_tls_1_2_is_refused(forged: Mesh) -> None:
    answer = forged.knock("fresh.pem", "api", maximum="TLSv1_2")
    assert "PROTOCOL_VERSION" in answer["error"], answer


def test_plaintext_is_refused(mesh: Mesh) -> None:
    tasks = [
        {"host": name, "port": 15000, "send": "GET / HTTP/1.1\r\nHost: web\r\n\r\n"} for name in ("web", "api", "edge")
    ]
    for answer in mesh.ask("neighbour", *tasks):
        assert answer.get("answer", "") == "", answer


def test_a_neighbour_gets_no_answer_from_any_other_port(mesh: Mesh) -> None:
    """Dropped, not refused: the packet filter does not even say that somebody is there."""
    ports = {"the app, bound to 0.0.0.0": 8000, "outbound": 15001, "metrics": 9901, "runner": 50051}
    tasks = [{"host": "web", "port": port, "send": "GET / HTTP/1.1\r\nHost: web\r\n\r\n"} for port in ports.values()]
    answers = dict(zip(ports, mesh.ask("neighbour", *tasks), strict=True))
    assert answers == {name: {"error": "TimeoutError: timed out"} for name in ports}


def test_the_apps_port_is_open_inside_its_own_pod(mesh: Mesh) -> None:
    """Else the test above would prove nothing."""
    [answer] = mesh.ask("app-web", {"host": "127.0.0.1", "port": 8000, "url": "/"})
    assert answer["status"] == 200


def test_the_container_that_sets_the_filter_keeps_no_right(mesh: Mesh) -> None:
    status = docker("exec", mesh.name("pod-web"), "cat", "/proc/1/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["Uid"].split() == ["65534"] * 4
    assert found["NoNewPrivs"] == "1"


def test_a_pod_that_cannot_close_itself_does_not_run(mesh: Mesh) -> None:
    """Without the right to set the filter, as with a kernel that has none: one sentence, and no open pod."""
    command = [
        "docker",
        "run",
        "--rm",
        "--user",
        "0:0",
        "--cap-drop",
        "ALL",
        "--entrypoint",
        "/opt/karst/pod",
        mesh.image,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("karst: the kernel refused the pod's packet filter (")
    assert len(done.stderr.splitlines()) == 1


def test_the_filter_leaves_the_rules_of_dockers_dns_alone(mesh: Mesh) -> None:
    """Names still resolve inside the pod (they do through rules in the same namespace)."""
    answer = mesh.call("web", "http://api/")
    assert answer["status"] == 200


def test_the_edge_gives_neighbours_nothing(mesh: Mesh) -> None:
    request = "GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for answer in mesh.ask(
        "neighbour", *({"host": "edge", "port": port, "send": request} for port in (15000, 9901, 8088))
    ):
        assert answer.get("answer", "") == "", answer


def test_the_edge_passes_no_neighbours_tls_on(mesh: Mesh) -> None:
    answer = mesh.knock("ops-operator.pem", "edge", name="api")
    assert "error" in answer, answer


def test_a_caller_that_is_not_allowed_gets_403(mesh: Mesh) -> None:
    """`no` lets only `api` in."""
    assert mesh.call("web", "http://no/")["status"] == 403


def test_who_may_ask_for_what(mesh: Mesh) -> None:
    """Kit paths are the tools', whatever spelling of them a service tries."""
    expected = {
        ("web", "/.karst/stats"): 403,
        ("web", "/.karst/stats/prometheus"): 403,
        ("web", "/karst.v1.ControlPlane/StreamLogs"): 403,
        ("web", "/x/../.karst/stats"): 403,
        ("web", "//.karst//stats"): 403,
        ("web", "/%2ekarst/stats"): 403,
        ("web", "/.karst%2fstats"): 400,
        ("ops-edge", "/karst.v1.ControlPlane/StreamLogs"): 403,
        ("ops-edge", "/.karst/stats"): 200,
        ("ops-operator", "/.karst/stats"): 200,
        ("ops-operator", "/.karst/quitquitquit"): 404,
        ("ops-operator", "/"): 403,  # no caller of the app
    }
    tasks = [
        {"host": "web", "port": 15000, "tls": True, "cert": f"{certificate}.pem", "path": path}
        for certificate, path in expected
    ]
    answers = [answer.get("status") for answer in mesh.ask("neighbour", *tasks)]
    assert dict(zip(expected, answers, strict=True)) == expected


def test_outbound_refuses_what_is_no_name_and_its_own_ports(mesh: Mesh) -> None:
    """A request for 15001 of its own pod would go round for ever."""
    urls = ("http://-api/", "http://127.0.0.1:15001/", "http://127.1:50051/")
    answers = mesh.ask("app-web", *({"host": "127.0.0.1", "port": 15001, "url": url} for url in urls))
    assert dict(zip(urls, [answer["status"] for answer in answers], strict=True)) == dict.fromkeys(urls, 403)


def test_a_server_with_another_services_identity_is_refused(mesh: Mesh) -> None:
    """`impostor` resolves to the pod of `web`, which has a good certificate: for `web`."""
    answer = mesh.call("api", "http://impostor/")
    assert answer["status"] == 503, answer
    counts = mesh.knock("ops-operator.pem", "api", path="/.karst/stats?filter=impostor.*fail_verify_san")["body"]
    assert int(counts.rpartition(" ")[2]) > 0, counts


def test_an_app_cannot_say_who_it_is_or_where_to_go(mesh: Mesh) -> None:
    """WSGI reads x_forwarded_client_cert as the header that only Envoy may write."""
    headers: dict[str, Any] = {
        "X-Forwarded-Client-Cert": "URI=spiffe://karst.local/ops/operator",
        "x_forwarded_client_cert": "URI=spiffe://karst.local/ops/operator",
        "x-forwarded_client-cert": "URI=spiffe://karst.local/ops/operator",
        "X-Karst-Upstream": "no:15000",
        "X-Karst-Host": "no",
        "kept_header": "kept",
    }
    answer = mesh.call("web", "http://api/", headers=headers)
    said = json.loads(answer["body"])
    assert said["me"] == "api"
    assert said["headers"]["x-forwarded-client-cert"].endswith(f"URI={WEB}")
    assert said["headers"]["kept_header"] == "kept"
    assert "ops/operator" not in answer["body"]
    assert "karst-" not in " ".join(said["headers"])
