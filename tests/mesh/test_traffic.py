"""What the mesh carries: from app to app, from the host to a service, and what the app sees of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.support.kit import docker
from tests.support.mesh import Mesh, wait_until


def host(mesh: Mesh, inside: int, path: str, **more: Any) -> requests.Response:
    """One request from the host to one of the edge's published ports."""
    return requests.request(
        more.pop("method", "GET"), f"http://127.0.0.1:{mesh.port(inside)}{path}", timeout=10, **more
    )


def grpc_call(mesh: Mesh, service: str, method: str, certificate: str = "operator") -> grpc.RpcError:
    """One unary call from the host through the edge; the stand-ins answer UNIMPLEMENTED and say who they are."""
    credentials = grpc.ssl_channel_credentials(
        (mesh.secrets / "ca.pem").read_bytes(),
        (mesh.secrets / f"{certificate}.key").read_bytes(),
        (mesh.secrets / f"{certificate}.crt").read_bytes(),
    )
    options = (("grpc.ssl_target_name_override", service),)
    with grpc.secure_channel(f"127.0.0.1:{mesh.port(15000)}", credentials, options) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(method)(b"", timeout=10)
        return caught.value


def test_an_app_reaches_another_by_name_and_learns_who_called(mesh: Mesh) -> None:
    """Also one that listens on loopback, on a port that nobody configured."""
    answer = mesh.call("web", "http://api/path?x=1", method="POST", body="hello")
    said = json.loads(answer["body"])
    assert (said["me"], said["path"], said["body"]) == ("api", "/path?x=1", "hello")
    assert said["headers"]["x-forwarded-client-cert"].endswith("URI=spiffe://karst.local/svc/web")
    assert said["headers"]["host"] == "api"


def test_trace_context_passes_through_unchanged(mesh: Mesh) -> None:
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b"}
    said = json.loads(mesh.call("web", "http://api/", headers=trace)["body"])
    assert {name: said["headers"][name] for name in trace} == trace


def test_what_is_not_of_the_mesh_goes_out_as_if_there_were_no_proxy(mesh: Mesh) -> None:
    """HTTP_PROXY makes clients send any plain HTTP to the sidecar. The app itself stands for a server elsewhere."""
    answer = mesh.call("web", "http://127.0.0.1:8000/x?y", method="POST", body="hello")
    said = json.loads(answer["body"])
    assert (said["me"], said["path"], said["body"]) == ("web", "/x?y", "hello")
    assert said["headers"]["host"] == "127.0.0.1:8000"
    assert not [name for name in said["headers"] if name.startswith(("x-karst", "x-forwarded", "x-envoy"))], said


def test_a_websocket_goes_through(mesh: Mesh) -> None:
    """HTTP/1.1 at both ends, a stream of HTTP/2 in between."""
    upgrade = "GET /ws HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    [answer] = mesh.ask("app-web", {"host": "127.0.0.1", "port": 15001, "send": upgrade, "then": "hello"})
    assert answer["answer"].startswith("HTTP/1.1 101 "), answer
    assert answer["answer"].endswith("HELLO")


def test_an_app_may_call_itself_and_an_allowed_caller_gets_in(mesh: Mesh) -> None:
    assert mesh.call("web", "http://web/")["status"] == 200
    # `no` answers HTTP/2 only: the request gets past the rules and fails at the app (POST: nothing is tried again)
    assert mesh.call("api", "http://no/", method="POST")["status"] in (502, 503)


def test_grpc_of_the_kit_goes_to_the_runner_and_all_other_to_the_app(mesh: Mesh) -> None:
    """Both over one port: by path; to the app with HTTP/2, wherever it listens."""
    assert "runner got /grpc.health.v1.Health/Check" in str(grpc_call(mesh, "no", "/grpc.health.v1.Health/Check"))
    assert "runner got /karst.v1.Control" in str(grpc_call(mesh, "no", "/karst.v1.ControlPlane/HealthCheck"))
    assert "app got /shop.v1.Cart/Add" in str(grpc_call(mesh, "no", "/shop.v1.Cart/Add", certificate="api"))


def test_the_health_of_a_service_is_for_every_member_and_its_methods_for_callers(mesh: Mesh) -> None:
    assert "runner got" in str(grpc_call(mesh, "no", "/grpc.health.v1.Health/Check", certificate="web"))
    for method in ("/shop.v1.Cart/Add", "/karst.v1.ControlPlane/StreamLogs"):
        assert grpc_call(mesh, "no", method, certificate="web").code() is grpc.StatusCode.PERMISSION_DENIED


def test_curl_reaches_a_service_through_the_edge(mesh: Mesh) -> None:
    """End to end mTLS with HTTP/1.1 or HTTP/2, by the files that are there for people."""
    port = mesh.port(15000)
    for version in ("--http1.1", "--http2"):
        done = subprocess.run(
            [
                *("curl", "--silent", "--max-time", "10", version, "--cacert", str(mesh.secrets / "ca.pem")),
                *("--cert", str(mesh.secrets / "web.crt"), "--key", str(mesh.secrets / "web.key")),
                *("--connect-to", f"api:{port}:127.0.0.1:{port}", f"https://api:{port}/"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["me"] == "api"


def test_the_edge_shows_its_own_figures_and_those_of_every_service(mesh: Mesh) -> None:
    assert host(mesh, 9901, "/ready").text.strip() == "LIVE"
    assert "listener.0.0.0.0_9901" in host(mesh, 9901, "/stats").text
    assert "http.inbound.rbac.allowed" in host(mesh, 9901, "/services/web/stats").text
    text = host(mesh, 9901, "/services/no/stats/prometheus?filter=rbac").text
    assert "# TYPE envoy_http_rbac_allowed counter" in text
    assert host(mesh, 9901, "/services/api/ready").status_code == 200


def test_the_edge_asks_nobody_else(mesh: Mesh) -> None:
    """A name without a pod, one with another's identity, and ways around the three paths."""
    assert host(mesh, 9901, "/services/nobody/stats").status_code == 503
    assert host(mesh, 9901, "/services/impostor/stats").status_code == 503
    for path in ("/services/web/", "/services/web/quitquitquit", "/services/../stats/x", "/help", "/quitquitquit"):
        assert host(mesh, 9901, path).status_code == 404, path
    assert host(mesh, 9901, "/stats", method="POST").status_code == 404
    assert host(mesh, 9901, "/stats", headers={"Host": "rebound.example"}).status_code == 404


def test_the_front_door_opens_to_exposed_services_only(mesh: Mesh) -> None:
    def front(name: str, path: str = "/", **headers: str) -> requests.Response:
        port = mesh.port(8088)
        return host(mesh, 8088, path, headers={"Host": f"{name}:{port}", **headers})

    said = front("api.localhost", "/x?y", **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}).json()
    assert (said["me"], said["path"]) == ("api", "/x?y")
    assert said["headers"]["host"] == f"api.localhost:{mesh.port(8088)}", "links must lead back to the browser's port"
    assert said["headers"]["x-forwarded-proto"] == "http"
    assert "6.6.6.6" not in said["headers"]["x-forwarded-for"]
    assert said["headers"]["x-forwarded-client-cert"].endswith("URI=spiffe://karst.local/ops/edge")
    assert front("web.localhost").status_code == 403
    assert front("api.localhost", "/.karst/stats").status_code == 404
    assert front("api.localhost", "/karst.v1.ControlPlane/StreamLogs").status_code == 403
    assert front("rebound.example").status_code == 404


def test_figures_are_on_loopback_of_the_pod_too_and_nothing_else_of_the_admin_is(mesh: Mesh) -> None:
    tasks = [
        {"host": "127.0.0.1", "port": 9901, "url": path}
        for path in ("/stats", "/stats/prometheus", "/ready", "/quitquitquit", "/config_dump")
    ]
    assert [answer["status"] for answer in mesh.ask("app-web", *tasks)] == [200, 200, 200, 404, 404]


def test_a_service_whose_app_stops_listening_is_not_ready_until_it_does_again(mesh: Mesh) -> None:
    def ready() -> int:
        return host(mesh, 9901, "/services/web/ready").status_code

    assert ready() == 200
    docker("stop", "--time", "0", mesh.name("app-web"))
    wait_until(lambda: ready() == 503, "still ready without an app")
    assert "http.inbound" in host(mesh, 9901, "/services/web/stats").text, "figures are wanted then most of all"
    docker("start", mesh.name("app-web"))
    wait_until(lambda: ready() == 200, "not ready again")


def test_a_killed_sidecar_and_a_killed_edge_work_again_after_a_start(mesh: Mesh) -> None:
    """What they write goes to a tmpfs, whose mode a second start must not lose."""

    def ready() -> bool:
        try:
            return host(mesh, 9901, "/services/web/ready").status_code == 200
        except requests.ConnectionError:
            return False

    names = [mesh.name(name) for name in ("sidecar-web", "edge")]
    docker("kill", *names)
    docker("start", *names)
    wait_until(ready, "not ready again")


def test_no_key_is_in_what_the_engine_tells_of_a_container(mesh: Mesh) -> None:
    told = docker("inspect", *(mesh.name(f"{role}-web") for role in ("pod", "app", "sidecar")))
    for path in Path(mesh.secrets).rglob("*.key"):
        assert path.read_text().splitlines()[1] not in told
    mounts = json.loads(docker("inspect", "--format", "{{json .Mounts}}", mesh.name("app-web")))
    assert not any(str(mesh.secrets) in mount["Source"] for mount in mounts)
