"""Odd, slow, oversized and forged requests: each refused at the door, with a problem document."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.admin_app import App, running, settings_of, todo
from tests.support.supabase_stub import SupabaseStub

pytestmark = pytest.mark.slow

# Odd requests


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.test", 421),
        ("localhost.evil.test", 421),
        ("127.0.0.1.evil.test:8080", 421),
        ("localhost@evil.test", 400),
        ("localhost, localhost", 400),
        ("localhost:80:80", 400),
        ("", 400),
        ("LOCALHOST:9", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
    ],
)
def test_only_our_own_names_are_answered(host: str, status: int, unix: bool, app: App) -> None:
    """Even /health: a page that points its name at 127.0.0.1 reads nothing (DNS rebinding)."""
    connection = app.connect(unix=unix)
    connection.putrequest("GET", "/health", skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    assert connection.getresponse().status == status


def test_two_host_headers_or_none_are_refused(app: App) -> None:
    assert b" 400 " in app.raw(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert b" 400 " in app.raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json, text/plain", "application/jsonx"],
)
def test_writes_take_json_only(content_type: str, app: App) -> None:
    """Whatever a form on another site could send is refused before it is read."""
    answer = app.call("POST", "/deploy", role="deployer", body=todo(), headers={"Content-Type": content_type})
    assert (answer.status, answer.json()["code"]) == (415, "not_json")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_writes_from_another_site_are_refused(headers: dict[str, str], app: App) -> None:
    answer = app.call("POST", "/deploy", role="deployer", body=todo(), headers=headers)
    assert (answer.status, answer.json()["code"]) == (403, "cross_site")


def test_no_answer_invites_another_site(app: App) -> None:
    """No CORS header, ever; nothing to embed, sniff or keep."""
    origin = f"http://127.0.0.1:{app.port}"
    answer = app.call("GET", "/v1/deploys", role="viewer", headers={"Origin": "http://evil.test"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "server" not in answer.headers
    assert app.call("POST", "/deploy", role="deployer", body=todo(), headers={"Origin": origin}).status == 200


@pytest.mark.parametrize("name", ["access_token", "token", "apikey", "Authorization"])
def test_a_token_in_the_url_is_refused_even_beside_a_good_one(name: str, app: App) -> None:
    """And it alone is no token at all."""
    token = app.token("viewer")
    answer = app.call("GET", f"/v1/deploys?{name}={token}", token=token)
    assert (answer.status, answer.json()["code"]) == (400, "token_in_url")
    assert app.call("GET", f"/v1/deploys?{name}={token}").status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/deploys/../../etc/passwd",
        "/v1/deploys/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/deploys/%2e%2e",
        "/v1/deploys/..",
        "/v1/deploys/" + "a" * 5000,
        "/v1/deploys/x%00y/events",
        "/v1/deploys//events",
        "/v1/services/..%2f..%2fetc/logs",
        "/v1/services/web%0d%0aX-Evil:%201/logs",
        "/v1/services/WEB/logs",
        "/v1/services/-web/stats",
        "/v1/services/nobody/stats",
        "/v1/services/nobody/logs?follow=1",
        "/v1//deploys",
        "/openapi.json/",
    ],
)
def test_paths_that_are_no_route_or_name_nothing_are_404(path: str, app: App) -> None:
    answer = app.call("GET", path, role="viewer")
    assert answer.status == 404
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=1e3", "limit=99999999999", "limit=%D9%A1", "limit=1&limit=2", "limt=1", "limit="],
)
def test_query_parameters_are_taken_strictly(query: str, app: App) -> None:
    answer = app.call("GET", f"/v1/deploys?{query}", role="viewer")
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_mistyped_parameter_gets_the_right_one_suggested(app: App) -> None:
    assert "`limit`" in app.call("GET", "/v1/deploys?limt=1", role="viewer").json()["hint"]


# Sizes and speeds


def test_a_body_or_header_above_the_limit_is_refused(start_app: Callable[..., App]) -> None:
    """As problem documents too, although the app never sees them."""
    app = start_app(limits={"body": 2000, "header": 4000})
    big = app.call("POST", "/deploy", role="deployer", body=b"[" + b" " * 2000)
    assert (big.status, big.json()["code"]) == (413, "body_too_large")
    long = app.call("GET", "/health", headers={"X-Long": "a" * 5000})
    assert (long.status, long.json()["code"]) == (431, "headers_too_large")
    chunked = (
        b"POST /deploy HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"400\r\n%s\r\n" % (b"a" * 1024) * 3
    )
    assert b" 413 " in app.raw(chunked)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\nx",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\nY: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_with_a_problem_document(head: bytes, app: App) -> None:
    """Two lengths in one request are how one is smuggled past a proxy."""
    answer = app.raw(head)
    assert b" 400 Bad Request" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


def test_two_authorization_headers_are_refused_even_when_one_is_good(app: App) -> None:
    token = app.token("viewer").encode()
    head = b"GET /v1/deploys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "
    assert b" 401 " in app.raw(head + token + b"\r\nAuthorization: Bearer x\r\n\r\n")
    assert b" 200 " in app.raw(head + token + b"\r\n\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: application/json\r\nContent-Type: text/plain",
        b"Content-Type: application/json\r\nOrigin: http://localhost\r\nOrigin: http://evil.test",
        b"Content-Type: application/json\r\nIdempotency-Key: a\r\nIdempotency-Key: b",
        b"Content-Type: application/json\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site",
    ],
)
def test_a_header_that_is_there_twice_is_not_read_in_the_senders_favour(header: bytes, app: App) -> None:
    """Two values become one text, which is none of those that are let in."""
    body = json.dumps(todo()).encode()
    head = b"POST /v1/deploys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "
    head += app.token("deployer").encode() + b"\r\n" + header + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    status = int(app.raw(head + body).split(b" ", 2)[1])
    assert status in (400, 403, 415)
    assert app.instance.runs.all() == []


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_ends_too_early_starts_nothing(chunked: bool, app: App) -> None:
    """Valid JSON as far as it goes, and yet not what was announced."""
    body = json.dumps(todo()).encode()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(body) + 10)
    head = b"POST /v1/deploys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer "
    head += app.token("deployer").encode() + b"\r\n" + length + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as client:
        client.sendall(head + (b"%x\r\n%s\r\n" % (len(body), body) if chunked else body))
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
    assert app.call("GET", "/health").status == 200
    assert app.instance.runs.all() == []


def test_nothing_that_a_service_says_can_steer_a_terminal(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape sequences, titles, carriage returns and C1 controls, in logs, in reasons and as server-sent events."""
    evil = "a\x1b[2Jb\x1b]0;title\x07c\rd\x9b31me\x00f"
    app.stack.lines = [{"service": "web", "ts": "2025-01-01T00:00:00Z", "msg": evil}]
    monkeypatch.setattr(app.stack, "list_services", lambda: [{"service": "web", "status": "FAILED", "reason": evil}])
    app.stack.follow_seconds = 0.02
    bodies = [
        app.call("GET", path, role="viewer", headers=headers).body
        for path, headers in (
            ("/v1/services/web/logs", {}),
            ("/v1/logs?follow=1", {}),
            ("/v1/logs?follow=1", {"Accept": "text/event-stream"}),
            ("/v1/services", {}),
        )
    ]
    for body in bodies:
        assert b"abc" in body
        text = body.decode().replace("\n", "")
        assert not any(sign in text for sign in ("\\u001b", "\\u009b", "\\u0000", "\\r", "\x1b"))
        assert text.isprintable()


def test_a_client_that_sends_its_request_too_slowly_is_cut_off(start_app: Callable[..., App]) -> None:
    """Connections are few: one byte now and then must not hold one for ever."""
    app = start_app(limits={"request_seconds": 0.5})
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        started = time.monotonic()
        while time.monotonic() - started < 8:
            try:
                client.sendall(b"l")
                client.settimeout(0.2)
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - started < 5
    assert app.call("GET", "/health").status == 200


def test_a_client_that_does_not_read_its_stream_is_cut_off(start_app: Callable[..., App]) -> None:
    """Otherwise it would hold a thread and its output for ever."""
    app = start_app(limits={"stall_seconds": 0.5})
    app.stack.lines = [{"service": "web", "ts": str(n), "msg": "x" * 10_000} for n in range(2000)]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", app.port))
        head = "GET /v1/services/web/logs?follow=1&tail=2000 HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Authorization: Bearer {app.token('viewer')}\r\n\r\n"
        client.sendall(head.encode())
        limit = app.instance.context.streams["tcp"]
        _until(lambda: limit.open == 1)
        _until(lambda: limit.open == 0, seconds=10)


def test_a_client_that_leaves_gives_its_stream_back(app: App) -> None:
    limit = app.instance.context.streams["tcp"]
    with app.open("GET", "/v1/services/web/logs?follow=1", role="viewer") as response:
        assert json.loads(response.readline())["msg"] == "line 0"
        assert limit.open == 1
    _until(lambda: limit.open == 0)


def test_open_streams_are_capped_below_the_threads_so_that_health_answers(app: App) -> None:
    """Per caller and in all; the next one gets 429, and the run it wanted to start is not started."""
    streams = [app.open("GET", "/v1/services/web/logs?follow=1", role=role) for role in ["viewer"] * 6 + ["admin"] * 2]
    for each in streams:
        each.__enter__().readline()
    try:
        for role in ("viewer", "deployer"):
            answer = app.call("GET", "/v1/services/web/logs?follow=1", role=role)
            assert (answer.status, answer.json()["code"]) == (429, "too_many_streams")
        assert app.call("POST", "/deploy", role="deployer", body=todo()).status == 429
        assert app.call("GET", "/v1/deploys", role="viewer").json()["deploys"] == []
        assert app.call("GET", "/health").status == 200
        assert app.call("POST", "/deploy", role="deployer", body=todo(), unix=True).status == 200
    finally:
        for each in streams:
            each.__exit__(None, None, None)


def test_a_caller_above_their_rate_waits_and_others_do_not(start_app: Callable[..., App]) -> None:
    app = start_app(limits={"reads": 0.5, "reads_burst": 3})
    answers = [app.call("GET", "/v1/deploys", role="viewer").status for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]
    assert int(app.call("GET", "/v1/deploys", role="viewer").headers["retry-after"]) >= 1
    assert app.call("GET", "/v1/deploys", role="deployer").status == 200


def test_tokens_and_keys_reach_neither_logs_nor_answers(
    app: App, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever happens to the request."""
    caplog.set_level("DEBUG")
    token = app.token("deployer")
    key = app.supabase.service_role_key
    bodies = [app.call("POST", "/deploy", token=token, body=body).body for body in (todo(), {"slugs": 1}, b"{")]
    bodies += [app.call("GET", f"/v1/deploys?token={token}", token=secret).body for secret in (token, token[:-4], key)]
    captured = capfd.readouterr()
    told = b"".join(bodies).decode() + caplog.text + captured.out + captured.err
    told += "".join(path.read_text(errors="replace") for path in app.data.rglob("*") if path.is_file())
    for secret in (token, token.split(".")[2], key):
        assert secret not in told


def test_an_error_of_our_own_is_a_problem_without_a_traceback(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("a detail that is nobody's business")

    monkeypatch.setattr(app.stack, "list_services", broken)
    answer = app.call("GET", "/v1/services", role="viewer")
    assert (answer.status, answer.json()["code"]) == (500, "internal")
    assert b"business" not in answer.body


def test_a_second_admin_app_on_the_same_folder_or_socket_is_refused(app: App) -> None:
    """Two would take turns in telling lies about one run."""
    from admin.instance import Instance
    from karst.errors import BusyError, KarstError

    with pytest.raises(BusyError, match="another admin app"):
        running(app.supabase, app.folder)
    other = settings_of(app.supabase, app.folder, data=app.folder / "other")
    with pytest.raises(KarstError, match="somebody else listens"):
        Instance(other, stack=app.stack).start()
    assert app.call("GET", "/health", unix=True).status == 200


def test_a_file_at_the_sockets_path_is_left_alone(supabase: SupabaseStub, tmp_path: Any) -> None:
    from karst.errors import UsageError

    (tmp_path / "admin.sock").write_text("precious")
    with pytest.raises(UsageError, match="not a socket"):
        running(supabase, tmp_path)
    assert (tmp_path / "admin.sock").read_text() == "precious"


def test_a_socket_that_a_dead_admin_app_left_is_replaced(start_app: Callable[..., App], tmp_path: Any) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "admin.sock"))
    assert start_app().call("GET", "/health", unix=True).status == 200


def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
