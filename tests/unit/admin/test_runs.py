"""Runs: streamed to the end, outliving clients and the admin app, cancelled once, one at a time."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from admin.audit import verify
from admin.runs import process
from admin.runs.record import Folder
from tests.support.admin_app import App, todo
from tests.support.supabase_stub import SupabaseStub


def _types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def _start(app: App, **env: str) -> str:
    answer = app.call("POST", "/v1/deploys", role="deployer", body=todo(**env))
    assert answer.status == 202, answer.body
    return str(answer.json()["id"])


def _wait_for_event(app: App, run_id: str, kind: str = "log") -> None:
    with app.open("GET", f"/v1/deploys/{run_id}/events", role="viewer") as response:
        while json.loads(response.readline())["type"] != kind:
            pass


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
    run_id = _start(app, STEPS="20")
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
    run_id = _start(app, STEPS="30", PAUSE="0.01")
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
    run_id = _start(app, WAIT_FOR=str(go))
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
    run_id = _start(app, WAIT_FOR="/never", NOTE=str(note), CLEAN_UP="0.5")
    _wait_for_event(app, run_id)
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
    _wait_for_event(app, run_id)
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


@pytest.mark.parametrize("plan", ["../../etc", "", 5, "20250101t000000000000-00000000"])
def test_a_plan_that_is_none_cannot_be_applied(plan: Any, app: App) -> None:
    assert app.call("POST", "/deploy", role="deployer", body={"plan": plan}).status == 404
    both = app.call("POST", "/deploy", role="deployer", body={"plan": "x", "slugs": ["gh:owner/web"]})
    assert both.status == 422


# Restarts


def test_a_run_outlives_the_admin_app_and_the_next_one_follows_it(start_app: Callable[..., App]) -> None:
    """Stopped in the middle: the stream ends without a result, the run goes on, and nothing else may start."""
    first = start_app()
    gate = first.folder / "go"
    run_id = _start(first, WAIT_FOR=str(gate))
    with first.open("GET", f"/v1/deploys/{run_id}/events", role="viewer") as response:
        response.readline()
        first.instance.stop()
        rest = response.read()
    assert b'"result"' not in rest
    second = start_app()
    assert second.call("GET", f"/v1/deploys/{run_id}", role="viewer").json()["state"] == "running"
    assert second.call("POST", "/v1/deploys", role="admin", body=todo()).status == 409
    gate.touch()
    assert second.wait_done(run_id)["outcome"] == "ok"
    assert second.call("GET", f"/v1/deploys/{run_id}/events", role="viewer").events()[-1]["outcome"] == "ok"


def test_a_run_can_be_cancelled_by_the_admin_app_that_came_after(start_app: Callable[..., App]) -> None:
    first = start_app()
    run_id = _start(first, WAIT_FOR="/never")
    _wait_for_event(first, run_id)
    first.instance.stop()
    second = start_app()
    assert second.call("POST", f"/v1/deploys/{run_id}/cancel", role="admin").status == 202
    assert second.wait_done(run_id)["outcome"] == "interrupted"


def test_a_run_that_ended_meanwhile_tells_its_true_outcome(start_app: Callable[..., App]) -> None:
    """Its result is in its file; nobody had to be there."""
    first = start_app()
    gate = first.folder / "go"
    run_id = _start(first, WAIT_FOR=str(gate), OUTCOME="unhealthy", CODE="5")
    first.instance.stop()
    gate.touch()
    lock = Folder(first.data / "runs").lock(run_id)
    while process.alive(lock):
        time.sleep(0.02)
    run = start_app().call("GET", f"/v1/deploys/{run_id}", role="viewer").json()
    assert (run["state"], run["outcome"], run["exit_code"]) == ("finished", "unhealthy", 5)


def test_a_run_that_died_meanwhile_is_unknown(start_app: Callable[..., App]) -> None:
    """A crash or a reboot: nobody knows how far it came, so nobody says "failed" or "ok"."""
    first = start_app()
    run_id = _start(first, WAIT_FOR="/never")
    _wait_for_event(first, run_id)
    first.instance.stop()
    pid = json.loads(first.run_file(run_id, "run.json").read_text())["pid"]
    os.killpg(pid, signal.SIGKILL)
    lock = Folder(first.data / "runs").lock(run_id)
    while process.alive(lock):
        time.sleep(0.02)
    second = start_app()
    events = second.call("GET", f"/v1/deploys/{run_id}/events", role="viewer").events()
    assert (events[-1]["type"], events[-1]["outcome"], events[-1]["exit_code"]) == ("result", "unknown", 6)
    assert second.call("GET", f"/v1/deploys/{run_id}", role="viewer").json()["outcome"] == "unknown"
    assert second.call("POST", "/deploy", role="deployer", body=todo()).status == 200


def test_killing_the_admin_process_itself_leaves_the_run_alone(supabase: SupabaseStub, tmp_path: Path) -> None:
    """SIGKILL to a real admin process in the middle of a run; a new one tells how it ended."""
    script = tmp_path / "serve.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path[:0] = {[str(Path.cwd()), str(Path.cwd() / 'scripts')]!r}\n"
        "from pathlib import Path\n"
        "from admin.auth.settings import AuthSettings\n"
        "from admin.instance import Instance\n"
        "from admin.settings import Settings\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"auth = AuthSettings({supabase.url!r}, {supabase.service_role_key!r}, issuer={supabase.issuer!r})\n"
        "settings = Settings(auth=auth, port=0, socket=folder / 'admin.sock', data=folder / 'data',\n"
        "                    command=(str(folder / 'fake-iac'),))\n"
        "instance = Instance(settings)\n"
        "instance.start()\n"
        "print('ready', flush=True)\n"
        "time.sleep(120)\n"
    )
    from tests.support.admin_app import App, FakeStack, fake_command, running, settings_of

    fake_command(tmp_path)
    server = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    from admin.instance import Instance

    remote = App(Instance(settings_of(supabase, tmp_path)), supabase, FakeStack(), tmp_path)
    gate = tmp_path / "go"
    answer = remote.call("POST", "/v1/deploys", role="deployer", body=todo(WAIT_FOR=str(gate)), unix=True)
    run_id = answer.json()["id"]
    server.kill()
    server.wait()
    server.stdout.close()
    app = running(supabase, tmp_path)
    try:
        assert app.call("GET", f"/v1/deploys/{run_id}", role="viewer").json()["state"] == "running"
        gate.touch()
        assert app.wait_done(run_id)["outcome"] == "ok"
    finally:
        app.stop()


def test_old_runs_are_forgotten_and_the_newest_are_kept(start_app: Callable[..., App]) -> None:
    app = start_app(limits={"keep_runs": 3})
    ids = [app.call("POST", "/deploy", role="deployer", body=todo()).headers["karst-run"] for _ in range(5)]
    listed = [run["id"] for run in app.call("GET", "/v1/deploys", role="viewer").json()["deploys"]]
    assert listed == ids[:1:-1]
    assert sorted(path.name for path in (app.data / "runs").iterdir()) == ids[2:]
    page = app.call("GET", "/v1/deploys?limit=2", role="viewer").json()
    assert page["next"] == ids[3]
    rest = app.call("GET", f"/v1/deploys?limit=2&before={page['next']}", role="viewer").json()
    assert ([run["id"] for run in rest["deploys"]], rest["next"]) == ([ids[2]], None)


def test_the_audit_log_tells_who_did_what_and_holds(app: App) -> None:
    """Starts, ends, cancels and refused writes; the chain verifies."""
    app.call("POST", "/deploy", role="deployer", body=todo("gh:owner/repo"))
    app.call("POST", "/deploy", role="viewer", body=todo())
    app.call("POST", "/deploy", body=todo())
    records = [json.loads(line) for line in (app.data / "audit.ndjson").read_text().splitlines()]
    told = [(each["action"], each["actor"].partition(":")[0], each["outcome"]) for each in records]
    assert told == [
        ("admin.start", "uid", "ok"),
        ("run.start", "user", "accepted"),
        ("run.end", "user", "ok"),
        ("refused", "user", "role_too_low"),
        ("refused", "nobody", "no_authorization"),
    ]
    assert records[1]["slugs"] == ["gh:owner/repo"]
    assert verify(app.data / "audit.ndjson").ok


def test_a_run_that_cannot_be_audited_is_not_started(app: App) -> None:
    """No unrecorded deploys: when the log cannot be written, the answer is an error and nothing runs."""
    (app.data / "audit.ndjson").unlink()
    (app.data / "audit.ndjson").mkdir()
    answer = app.call("POST", "/deploy", role="deployer", body=todo())
    assert answer.status == 500
    assert app.call("GET", "/v1/deploys", role="viewer").json()["deploys"] == []
    assert not list((app.data / "runs").iterdir())
