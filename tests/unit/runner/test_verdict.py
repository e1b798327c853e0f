"""The rules by which a running app is judged, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from karst_runner.health import NOT_SERVING, SERVER, SERVING, STARTING, UNDECIDED, WORKER
from karst_runner.settings import Settings, app_environment, wants_traces
from karst_runner.sockets import Listener
from karst_runner.verdict import Seen, choose_door, judge

APP = Settings(argv=("app",))


def on(port: int, address: str = "127.0.0.1") -> Listener:
    return Listener(port, address, inode=port)


@pytest.mark.parametrize(
    ("settings", "seen", "status", "kind", "port"),
    [
        ({}, Seen(0.5, [on(8000)]), STARTING, SERVER, 8000),
        ({}, Seen(1.0, [on(8000)]), SERVING, SERVER, 8000),
        ({}, Seen(4.0, [], quiet=True), STARTING, UNDECIDED, 0),
        ({}, Seen(5.0, [], quiet=False), STARTING, UNDECIDED, 0),
        ({}, Seen(5.0, [], quiet=True), SERVING, WORKER, 0),
        ({}, Seen(60.0, []), SERVING, WORKER, 0),
        ({"port": 80}, Seen(99.0, [], quiet=True), STARTING, UNDECIDED, 0),
        ({"port": 80}, Seen(99.0, [on(8000)]), STARTING, UNDECIDED, 0),
        ({"port": 80}, Seen(99.0, [on(8000), on(80)]), SERVING, SERVER, 80),
        ({"health": "/up"}, Seen(99.0, [], quiet=True), STARTING, UNDECIDED, 0),
        ({"health": "/up"}, Seen(99.0, [on(8000)]), STARTING, SERVER, 8000),
        ({"health": "/up"}, Seen(0.1, [on(8000)], probe=""), SERVING, SERVER, 8000),
        ({"health": "/up"}, Seen(9.0, [on(8000)], probe="answered 500"), STARTING, SERVER, 8000),
        ({"health": "/up"}, Seen(9.0, [on(8000)], probe="answered 500", was_serving=True), NOT_SERVING, SERVER, 8000),
        ({"kind": "server"}, Seen(40.0, [], quiet=True), STARTING, UNDECIDED, 0),
        ({"kind": "server"}, Seen(45.0, [], quiet=True), SERVING, WORKER, 0),
        ({}, Seen(9.0, [], was_serving=True, port=8000), NOT_SERVING, SERVER, 8000),
        ({}, Seen(99.0, [on(8000, "172.18.0.5")]), SERVING, SERVER, 8000),
        ({}, Seen(99.0, [on(15000), on(8000)]), NOT_SERVING, SERVER, 0),
    ],
)
def test_status_follows_from_what_is_seen(
    settings: dict[str, Any], seen: Seen, status: int, kind: int, port: int
) -> None:
    verdict = judge(Settings(argv=("app",), **settings), 0, seen)
    assert (verdict.status, verdict.kind, verdict.port) == (status, kind, port)


@pytest.mark.parametrize(
    ("wanted", "seen", "port"),
    [
        (8000, Seen(1, [on(9000), on(8000)]), 8000),
        (8000, Seen(1, [on(9000), on(5000)]), 5000),
        (0, Seen(1, [on(9000), on(5000)], port=5000), 5000),
        (0, Seen(1, [on(45671), on(9000)]), 9000),
        (0, Seen(1, [on(45671)]), 45671),
        (0, Seen(1, [on(45671)], port=9000), 45671),
    ],
)
def test_the_apps_door_is_its_port_else_the_one_before_else_the_lowest(wanted: int, seen: Seen, port: int) -> None:
    door = choose_door(APP, wanted, seen)
    assert door is not None
    assert door.port == port


def test_settings_come_from_the_environment_and_a_wrong_port_is_one_sentence() -> None:
    env = {"KARST_PORT": "80", "KARST_HEALTH": "/up", "KARST_SERVICE": "web", "PORT": "80", "SECRET": "s"}
    settings = Settings.from_environment(["serve", "--port=${PORT}", "${SECRET}"], env)
    assert (settings.argv, settings.port, settings.health) == (("serve", "--port=80", "${SECRET}"), 80, "/up")
    for wrong in ("0", "70000", "x"):
        with pytest.raises(ValueError, match="KARST_PORT must be a port number"):
            Settings.from_environment([], {"KARST_PORT": wrong})


def test_the_app_keeps_its_own_pythonpath_behind_ours_and_gets_none_of_ours_without_tracing() -> None:
    assert app_environment({}, "/otel", "name")["PYTHONPATH"] == "/otel"
    env = app_environment({"PYTHONPATH": "/app/src"}, "/otel", "name")
    assert (env["PYTHONPATH"], env["KARST_OTEL_SOCKET"]) == ("/otel:/app/src", "name")
    assert app_environment({"PORT": "1"}) == {"PORT": "1", "HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, True),
        ({"KARST_OTEL": "on"}, True),
        ({"KARST_OTEL": "off"}, False),
        ({"OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_tracing_is_on_unless_somebody_says_no(env: dict[str, str], wanted: bool) -> None:
    assert wants_traces(env) is wanted
