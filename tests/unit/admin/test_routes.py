"""Who gets through the door: every route against every kind of caller, and every kind of odd request."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from admin.api import meta
from admin.auth.peer import PeerGrants
from admin.auth.roles import Role
from admin.gate import OPEN
from tests.support.admin_app import App, todo
from tests.support.supabase_stub import SigningKey, SupabaseStub

RUN = "20250101t000000000000-00000000"
ROUTES = [
    ("GET", "/openapi.json", Role.VIEWER),
    ("GET", "/v1/me", Role.VIEWER),
    ("POST", "/deploy", Role.DEPLOYER),
    ("POST", "/v1/deploys", Role.DEPLOYER),
    ("GET", "/v1/deploys", Role.VIEWER),
    ("GET", f"/v1/deploys/{RUN}", Role.VIEWER),
    ("GET", f"/v1/deploys/{RUN}/list", Role.DEPLOYER),
    ("GET", f"/v1/deploys/{RUN}/events", Role.VIEWER),
    ("POST", f"/v1/deploys/{RUN}/cancel", Role.DEPLOYER),
    ("GET", "/v1/plan", Role.VIEWER),
    ("GET", "/v1/services", Role.VIEWER),
    ("GET", "/v1/services/web/logs", Role.VIEWER),
    ("GET", "/v1/logs", Role.VIEWER),
    ("GET", "/v1/certificates", Role.VIEWER),
    ("GET", "/v1/graph", Role.VIEWER),
    ("GET", "/v1/services/web/stats", Role.VIEWER),
    ("GET", "/no/such/route", Role.VIEWER),
    ("PUT", "/deploy", Role.VIEWER),
    ("OPTIONS", "/deploy", Role.VIEWER),
    ("TRACE", "/", Role.VIEWER),
]


def _strangers(app: App) -> dict[str, str | None]:
    """Authorization headers that must open nothing."""
    stub, user = app.supabase, app.supabase.add_user("admin")
    gone = stub.token(user)
    stub.log_out(gone)
    good = stub.token(user)
    return {
        "no token": None,
        "Basic": "Basic dXNlcjpwYXNz",
        "garbage": "Bearer garbage",
        "anon key": f"Bearer {stub.anon_key}",
        "secret key": "Bearer sb_secret_0123456789abcdefghijkl",
        "expired": f"Bearer {stub.token(user, exp=int(time.time()) - 60)}",
        "no exp": f"Bearer {stub.token(user, exp=None)}",
        "another key": f"Bearer {SigningKey('key-1').sign(stub.claims(user))}",
        "logged out": f"Bearer {gone}",
        "two tokens": f"Bearer {good}, Bearer {good}",
        "token and more": f"Bearer {good} x",
        "anonymous user": f"Bearer {stub.token(stub.add_user('admin', anonymous=True))}",
    }


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_no_route_answers_a_stranger(unix: bool, app: App) -> None:
    """401 for every route on both sockets, also for those that do not exist: a stranger learns nothing."""
    for name, header in _strangers(app).items():
        headers = {"Authorization": header} if header else {}
        for method, path, _ in ROUTES:
            answer = app.call(method, path, headers=headers, body=todo(), unix=unix)
            assert answer.status == 401, (method, path, name)
            assert answer.headers["www-authenticate"].startswith("Bearer"), (method, path, name)
            assert answer.headers["content-type"] == "application/problem+json", (method, path, name)
    assert app.call("GET", "/v1/deploys", role="viewer").json()["deploys"] == []


@pytest.mark.parametrize("who", ["nobody", "viewer", "deployer", "admin"])
def test_each_route_takes_its_role_and_no_lower_one(who: str, app: App) -> None:
    """A user without a role gets nowhere; a higher role includes the lower ones."""
    for method, path, role in ROUTES:
        answer = app.call(method, path, role=who, body=b"{}" if method == "POST" else None)
        allowed = {"nobody": 0, "viewer": 1, "deployer": 2, "admin": 3}[who] >= role
        if allowed:
            assert answer.status in (200, 404, 405, 422), (method, path)
        else:
            code = "no_role" if who == "nobody" else "role_too_low"
            assert (answer.status, answer.json()["code"]) == (403, code), (method, path)


def test_only_health_and_the_page_are_open_and_they_tell_nothing(app: App) -> None:
    """No token needed, on both sockets; the answers are constants (tests of the page: test_page_files.py)."""
    for unix in (False, True):
        answer = app.call("GET", "/health", unix=unix)
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
    assert {"meta.health", "page.index", "page.file", "page.sign_in"} == OPEN


def test_every_route_of_the_app_is_in_this_matrix_and_in_the_document(app: App) -> None:
    """A new route must be added to both, so that none stays untested or undocumented."""
    from admin.app import create_app

    rules = list(create_app(app.instance.context).url_map.iter_rules())
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    paths = yaml.safe_load(Path(meta.__file__).with_name("openapi.yaml").read_text())["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == documented
    named = {(method, path.replace(RUN, "{run_id}").replace("/web/", "/{service}/")) for method, path, _ in ROUTES}
    assert routes - {("GET", path) for path in ("/health", "/", "/page/{name}", "/v1/sign-in")} <= named


def test_a_route_that_names_no_role_is_closed_to_everybody(app: App) -> None:
    """Forgetting the decorator must not open a route."""
    from admin.app import create_app

    flask = create_app(app.instance.context)
    flask.add_url_rule("/forgotten", "forgotten", lambda: "open")
    headers = {"Authorization": f"Bearer {app.token('admin')}"}
    answer = flask.test_client().get("/forgotten", headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "closed")


def test_the_service_role_token_may_do_everything_once_the_server_confirms_it(app: App) -> None:
    """It has no subject, so GET /user cannot tell; a forged one is refused by the server."""
    answer = app.call("POST", "/v1/deploys", token=app.supabase.service_role_key, body=todo())
    assert answer.status == 202
    assert answer.json()["by"] == "service_role"
    forged = app.supabase.key.sign({"role": "service_role", "exp": int(time.time()) + 60}, kid="other")
    assert app.call("GET", "/v1/deploys", token=forged).status == 401
    endless = app.supabase.hs256({"role": "service_role"})
    assert app.call("GET", "/v1/deploys", token=endless).json()["code"] == "expired"


def test_an_unreachable_auth_server_closes_every_route(start_app: Callable[..., App]) -> None:
    """503, never open; /health stays."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    app = start_app(auth={"url": url})
    for method, path in (("GET", "/v1/deploys"), ("POST", "/deploy")):
        answer = app.call(method, path, role="admin", body=todo())
        assert (answer.status, answer.json()["code"]) == (503, "auth_server_unreachable")
        assert "retry-after" in answer.headers
    assert app.call("GET", "/health").status == 200


def test_a_failing_auth_server_closes_writes_and_never_counts_as_a_no(supabase: SupabaseStub, app: App) -> None:
    """A 500 from it is our 503; a 401 would tell people to sign in again for nothing."""
    token = app.token("deployer")
    assert app.call("GET", "/v1/deploys", token=token).status == 200
    supabase.fail_with = 500
    try:
        assert app.call("POST", "/deploy", token=token, body=todo()).status == 503
    finally:
        supabase.fail_with = 0
    assert app.call("GET", "/v1/deploys", role="viewer").json()["deploys"] == []


def test_a_logged_out_user_can_write_nothing_at_once_and_read_nothing_soon(start_app: Callable[..., App]) -> None:
    """Writes ask the server each time; reads at most every cache_seconds."""
    app = start_app(auth={"cache_seconds": 0.3})
    token = app.token("deployer")
    assert app.call("GET", "/v1/deploys", token=token).status == 200
    app.supabase.log_out(token)
    assert app.call("GET", "/v1/deploys", token=token).status == 200
    time.sleep(0.3)
    assert app.call("GET", "/v1/deploys", token=token).status == 401
    assert app.call("POST", "/deploy", token=token, body=todo()).status == 401


def test_a_role_that_was_taken_away_is_gone_with_the_next_write(app: App) -> None:
    """The role comes from the server's answer, not from the token, which keeps the old one for an hour."""
    user = app.supabase.add_user("deployer")
    token = app.supabase.token(user)
    assert app.call("POST", "/v1/deploys", token=token, body=todo()).status == 202
    user.app_metadata["karst_role"] = "viewer"
    assert app.call("POST", "/v1/deploys", token=token, body=todo()).json()["code"] == "role_too_low"


def test_user_metadata_gives_nobody_a_role(app: App) -> None:
    """Every user can write their own user_metadata."""
    user = app.supabase.add_user(None, user_metadata={"karst_role": "admin", "app_metadata": {"karst_role": "admin"}})
    assert app.call("GET", "/v1/deploys", token=app.supabase.token(user)).json()["code"] == "no_role"


def test_the_allow_list_names_users_by_id_or_confirmed_address(start_app: Callable[..., App]) -> None:
    """It wins over app_metadata; an address that nobody confirmed counts for nothing."""
    stub_user = {"alice@people.test": Role.DEPLOYER, "mallory@people.test": Role.ADMIN}
    app = start_app(auth={"users": stub_user})
    alice = app.supabase.add_user("admin", email="Alice@people.test")
    mallory = app.supabase.add_user(None, email="mallory@people.test", confirmed=False)
    assert app.call("POST", "/v1/deploys", token=app.supabase.token(alice), body=todo()).status == 202
    run = app.call("GET", "/v1/deploys", token=app.supabase.token(alice)).json()["deploys"][0]
    assert run["by_name"] == "Alice@people.test"
    assert app.call("GET", "/v1/deploys", token=app.supabase.token(mallory)).status == 403


# Peers on the Unix socket


def test_a_listed_uid_needs_no_token_on_the_unix_socket_only(start_app: Callable[..., App]) -> None:
    """Switched on by a list; the TCP listener and unlisted uids still need a token, and a bad token is not ignored."""
    app = start_app(peers=PeerGrants(uids={os.getuid(): Role.DEPLOYER}))
    answer = app.call("POST", "/deploy", body=todo(), unix=True)
    assert (answer.status, answer.events()[-1]["type"]) == (200, "result")
    assert app.call("GET", "/v1/deploys", unix=True).json()["deploys"][0]["by"] == f"uid:{os.getuid()}"
    assert app.call("GET", "/v1/deploys").status == 401
    assert app.call("GET", "/v1/deploys", token="bad", unix=True).status == 401


def test_a_listed_group_counts_and_an_unlisted_uid_does_not(start_app: Callable[..., App]) -> None:
    """Primary and supplementary groups come from the kernel."""
    app = start_app(peers=PeerGrants(uids={os.getuid() + 1: Role.ADMIN}, gids={os.getgid(): Role.VIEWER}))
    assert app.call("GET", "/v1/deploys", unix=True).status == 200
    assert app.call("POST", "/deploy", body=todo(), unix=True).json()["code"] == "role_too_low"


def test_the_socket_is_for_owner_and_group_only(app: App) -> None:
    """Mode 0660."""
    assert app.instance.socket_path.stat().st_mode & 0o777 == 0o660
