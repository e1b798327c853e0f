"""Runs: streamed to the end, outliving clients and the admin app, cancelled once, one at a time."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin_app import App, todo


def _types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_post_deploy_streams_numbered_events_up_to_the_result(unix: bool, app: App) -> None:
    """The brief's call, on both sockets."""
    answer = app.call(
        "POST", "/deploy", role="deployer", body={"slugs": ["gh:owner/web", "gl:group/sub/api#v1"]}, unix=unix
    )
    events = answer.events()
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert _types(events) == ["phase", "phase", "log", "log", "log", "result"]
    assert events[-1]["outcome"] == "ok"
    assert events[-1]["services"][0]["status"] == "SERVING"
    run = app.call("GET", answer.headers["location"], role="viewer").json()
    assert (run["state"], run["outcome"], run["exit_code"]) == ("finished", "ok", 0)
    assert run["slugs"] == ["gh:owner/web", "gl:group/sub/api#v1"]


def test_events_come_as_they_happen(app: App) -> None:
    """The first lines are there while the run still waits for us."""
    go = app.folder / "go"
    with app.open("POST", "/deploy", role="deployer", body=todo(WAIT_FOR=str(go))) as response:
        seen = [json.loads(response.readline())["type"] for _ in range(5)]
        assert seen == ["phase", "phase", "log", "log", "log"]
        go.touch()
        rest = [json.loads(line) for line in response.read().splitlines()]
    assert rest[-1]["type"] == "result"


def test_a_client_that_goes_away_does_not_stop_the_run(app: App) -> None:
    """The stream is a view of the run, nothing more."""
    go = app.folder / "go"
    with app.open("POST", "/deploy", role="deployer", body=todo(WAIT_FOR=str(go))) as response:
        run_id = response.headers["Karst-Run"]
        response.readline()
    time.sleep(0.3)
    assert app.call("GET", f"/v1/deploys/{run_id}", role="viewer").json()["state"] == "running"
    go.touch()
    assert app.wait_done(run_id)["outcome"] == "ok"


def test_a_cut_stream_is_resumed_by_number_without_loss_or_repetition(app: App) -> None:
    """?after= and Last-Event-ID, as NDJSON and as server-sent events."""
    run_id = app.start_run(STEPS="20")
    app.wait_done(run_id)
    path = f"/v1/deploys/{run_id}/events"
    whole = app.call("GET", path, role="viewer").events()
    for after in (0, 1, 7, len(whole) - 1):
        assert app.call("GET", f"{path}?after={after}", role="viewer").events() == whole[after:]
    assert app.call("GET", path, role="viewer", headers={"Last-Event-ID": "5"}).events() == whole[5:]
    assert app.call("GET", f"{path}?after={len(whole)}", role="viewer").body == b""
    sse = app.call("GET", f"{path}?after=20", role="viewer", headers={"Accept": "text/event-stream"})
    assert sse.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in sse.body.decode().strip().split("\n\n")]
    assert [block[0] for block in blocks] == [f"id: {event['seq']}" for event in whole[20:]]
    assert blocks[-1][1] == "event: result"
    assert json.loads(blocks[-1][2].removeprefix("data: ")) == whole[-1]


def test_many_readers_see_the_same_events_while_the_run_goes_on(app: App) -> None:
    run_id = app.start_run(STEPS="30", PAUSE="0.01")
    answers: list[list[dict[str, Any]]] = []

    def read() -> None:
        answers.append(app.call("GET", f"/v1/deploys/{run_id}/events", role="viewer").events())

    app.token("viewer")
    threads = [threading.Thread(target=read) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 5
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][-1]["type"] == "result"


def test_only_one_run_at_a_time_and_the_refusal_names_the_holder(app: App) -> None:
    """409 with who, what and since when; after the result the next one starts at once."""
    go = app.folder / "go"
    run_id = app.start_run(WAIT_FOR=str(go))
    for path in ("/deploy", "/v1/deploys"):
        answer = app.call("POST", path, role="admin", body=todo())
        assert (answer.status, answer.json()["code"]) == (409, "busy")
        assert answer.json()["holder"]["id"] == run_id
        assert answer.json()["holder"]["by"].startswith("user:")
    go.touch()
    app.wait_done(run_id)
    for _ in range(10):
        assert app.call("POST", "/deploy", role="deployer", body=todo()).events()[-1]["type"] == "result"
    assert len(app.call("GET", "/v1/deploys", role="viewer").json()["deploys"]) == 11


def test_of_many_simultaneous_requests_exactly_one_starts(app: App) -> None:
    go = app.folder / "go"
    app.token("deployer")
    statuses: list[int] = []

    def start() -> None:
        statuses.append(app.call("POST", "/v1/deploys", role="deployer", body=todo(WAIT_FOR=str(go))).status)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    go.touch()
    assert sorted(statuses) == [202] + [409] * 7


def test_an_idempotency_key_finds_the_run_of_the_first_request(app: App) -> None:
    """Same key and request: the same run, also by POST /deploy; another request: 422; another caller: another key."""
    key = {"Idempotency-Key": "3f1c-once"}
    first = app.call("POST", "/v1/deploys", role="deployer", body=todo(), headers=key)
    again = app.call("POST", "/v1/deploys", role="deployer", body=todo(), headers=key)
    assert (again.status, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["idempotent-replayed"] == "true"
    streamed = app.call("POST", "/deploy", role="deployer", body=todo(), headers=key)
    assert (streamed.headers["karst-run"], streamed.events()[-1]["type"]) == (first.json()["id"], "result")
    other = app.call("POST", "/v1/deploys", role="deployer", body=todo("gh:owner/other"), headers=key)
    assert (other.status, other.json()["code"]) == (422, "idempotency_key_reused")
    stranger = app.call("POST", "/v1/deploys", role="admin", body=todo(), headers=key)
    assert stranger.json()["id"] != first.json()["id"]
    bad = app.call("POST", "/v1/deploys", role="admin", body=todo(), headers={"Idempotency-Key": "a, b"})
    assert (bad.status, bad.json()["code"]) == (400, "bad_idempotency_key")


def test_an_idempotency_key_is_remembered_over_a_restart(start_app: Callable[..., App]) -> None:
    key = {"Idempotency-Key": "k"}
    app = start_app()
    first = app.call("POST", "/v1/deploys", role="deployer", body=todo(), headers=key).json()["id"]
    app.wait_done(first)
    token = app.token("deployer")
    app.instance.stop()
    again = start_app().call("POST", "/v1/deploys", token=token, body=todo(), headers=key)
    assert again.json()["id"] == first


def test_cancel_interrupts_the_process_group_exactly_once(app: App) -> None:
    """A second SIGINT would make Terraform drop everything; asking twice must not send it."""
    note = app.folder / "note"
    run_id = app.start_run(WAIT_FOR="/never", NOTE=str(note), CLEAN_UP="0.5")
    app.wait_for_event(run_id)
    for _ in range(3):
        answer = app.call("POST", f"/v1/deploys/{run_id}/cancel", role="deployer")
        assert (answer.status, answer.json()["state"]) == (202, "cancelling")
    run = app.wait_done(run_id)
    assert (run["outcome"], run["exit_code"]) == ("interrupted", 130)
    assert run["cancelled_by"] == run["by"]
    assert note.read_text() == "interrupted\n"
    events = app.call("GET", f"/v1/deploys/{run_id}/events", role="viewer").events()
    assert events[-1]["outcome"] == "interrupted"
    late = app.call("POST", f"/v1/deploys/{run_id}/cancel", role="deployer")
    assert (late.status, late.json()["code"]) == (409, "already_finished")
    assert app.call("POST", "/deploy", role="deployer", body=todo()).status == 200


def test_deployers_cancel_their_own_runs_and_admins_everybodys(app: App) -> None:
    run_id = app.call("POST", "/v1/deploys", role="admin", body=todo(WAIT_FOR="/never")).json()["id"]
    app.wait_for_event(run_id)
    answer = app.call("POST", f"/v1/deploys/{run_id}/cancel", role="deployer")
    assert (answer.status, answer.json()["code"]) == (403, "not_yours")
    assert app.call("POST", f"/v1/deploys/{run_id}/cancel", role="admin", body=b"{}").status == 202
    assert app.wait_done(run_id)["outcome"] == "interrupted"


@pytest.mark.parametrize(
    ("env", "outcome", "exit_code", "reason"),
    [
        ({"EXIT": "2", "COMPLAIN": "iac: no such list"}, "failed", 2, "iac: no such list"),
        ({"EXIT": "3"}, "busy", 3, "exit code 3"),
        ({"EXIT": "5"}, "unhealthy", 5, "exit code 5"),
        ({"EXIT": "77"}, "failed", 77, "exit code 77"),
        ({"EXIT": "0"}, "unknown", 0, "no result"),
        ({"DIE": "9"}, "unknown", 6, "signal 9"),
        ({"OUTCOME": "unhealthy", "CODE": "5"}, "unhealthy", 5, None),
    ],
)
def test_the_last_event_is_always_a_result(
    env: dict[str, str], outcome: str, exit_code: int, reason: str | None, app: App
) -> None:
    """Also when the command printed none: then its exit code and last words say what can be said."""
    events = app.call("POST", "/deploy", role="deployer", body=todo(**env)).events()
    assert _types(events).count("result") == 1
    assert (events[-1]["type"], events[-1]["outcome"], events[-1]["exit_code"]) == ("result", outcome, exit_code)
    if reason is not None:
        assert reason in events[-1]["reason"]
    run = app.call("GET", "/v1/deploys", role="viewer").json()["deploys"][0]
    assert (run["outcome"], run["exit_code"]) == (outcome, exit_code)


def test_a_command_that_cannot_be_started_is_a_failed_run(start_app: Callable[..., App]) -> None:
    app = start_app(command=("/no/such/command",))
    events = app.call("POST", "/deploy", role="deployer", body=todo()).events()
    assert (events[-1]["outcome"], events[-1]["reason"]) == (
        "failed",
        "cannot start /no/such/command: No such file or directory",
    )


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b"plain text", "plain text"),
        (b'{"type": 5}', '{"type": 5}'),
        (b'{"broken', '{"broken'),
        (b"\x1b[2J\x1b]0;title\x07red\x1b[31m\x00\x08!", "red!"),
        (b'{"type": "log", "line": "\\u001b[1mbold\\u009b2J"}', "bold2J"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_whatever_the_command_prints_becomes_a_harmless_event(printed: bytes, line: str, app: App) -> None:
    """No control characters reach a terminal; text that is no event becomes a log line, in its place."""
    events = app.call("POST", "/deploy", role="deployer", body=todo(PRINT=base64.b64encode(printed).decode())).events()
    assert (events[2]["type"], events[2]["line"], events[2]["seq"]) == ("log", line, 3)
    assert events[-1]["type"] == "result"


def test_entries_reach_the_command_in_a_private_file_and_never_in_its_arguments(app: App) -> None:
    """And the command gets none of the admin app's own secrets in its environment."""
    dump = app.folder / "dump"
    os.environ["SUPABASE_SERVICE_ROLE_KEY"] = "the-key"
    os.environ["KARST_ADMIN_PEER_UIDS"] = "0"
    try:
        body = todo("gh:owner/private", DUMP_ENV=str(dump), PASSWORD="hunter2; $(touch pwned)")
        answer = app.call("POST", "/deploy", role="deployer", body=body)
    finally:
        del os.environ["SUPABASE_SERVICE_ROLE_KEY"], os.environ["KARST_ADMIN_PEER_UIDS"]
    seen = json.loads(dump.read_text())
    path = app.run_file(answer.headers["karst-run"], "repos.json")
    assert seen["argv"][1:] == ["deploy", "--file", str(path), "--events"]
    assert not [name for name in seen["env"] if name.startswith(("SUPABASE_SERVICE", "KARST_ADMIN", "KARST_AUTH"))]
    (run,) = app.call("GET", "/v1/deploys", role="viewer").json()["deploys"]
    assert seen["env"]["KARST_CALLER"] == run["by_name"]  # for the services' histories
    assert app.tokens["deployer"] not in json.dumps(seen)
    assert json.loads(path.read_text())[0]["env"]["PASSWORD"] == "hunter2; $(touch pwned)"
    assert not list(Path().glob("pwned"))
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
    for folder in (app.data, app.data / "runs", path.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "hunter2" not in answer.body.decode() + (app.data / "audit.ndjson").read_text()


# Plans


def test_a_dry_run_plans_and_exactly_that_plan_can_be_applied(app: App) -> None:
    """The apply gets the plan's own list file; the plan is no longer applicable once anything was run."""
    assert app.call("GET", "/v1/plan", role="viewer").json() == {"plan": None}
    run = app.call("POST", "/v1/deploys", role="deployer", body={**todo(), "dry_run": True}).json()
    assert (run["kind"], app.wait_done(run["id"])["outcome"]) == ("plan", "ok")
    plan = app.call("GET", "/v1/plan", role="viewer").json()["plan"]
    assert (plan["run"], plan["changes"], plan["applicable"]) == (run["id"], 1, True)
    assert plan["services"]["a"]["action"] == "create"
    applied = app.call("POST", "/deploy", role="deployer", body={"plan": run["id"]})
    assert applied.events()[1]["phase"] == "apply"
    assert app.call("GET", "/v1/plan", role="viewer").json()["plan"]["applicable"] is False
    stale = app.call("POST", "/deploy", role="deployer", body={"plan": run["id"]})
    assert (stale.status, stale.json()["code"]) == (409, "stale_plan")


def test_the_list_of_a_run_can_be_had_again_and_sent_again(app: App) -> None:
    """Whole, with options; an applied plan has the list of its plan. Viewers do not get it: `env:` may be private."""
    body = todo(STEPS="1")
    run = app.call("POST", "/v1/deploys", role="deployer", body={**body, "dry_run": True}).json()["id"]
    app.wait_done(run)
    assert app.call("GET", f"/v1/deploys/{run}/list", role="deployer").json() == body
    applied = app.call("POST", "/v1/deploys", role="deployer", body={"plan": run}).json()["id"]
    app.wait_done(applied)
    assert app.call("GET", f"/v1/deploys/{applied}/list", role="deployer").json() == body
    app.run_file(run, "repos.json").unlink()
    assert app.call("GET", f"/v1/deploys/{run}/list", role="deployer").json()["code"] == "no_list"


@pytest.mark.parametrize("plan", ["../../etc", "", 5, "20250101t000000000000-00000000"])
def test_a_plan_that_is_none_cannot_be_applied(plan: Any, app: App) -> None:
    assert app.call("POST", "/deploy", role="deployer", body={"plan": plan}).status == 404
    both = app.call("POST", "/deploy", role="deployer", body={"plan": "x", "slugs": ["gh:owner/web"]})
    assert both.status == 422
