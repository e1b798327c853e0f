"""Runs and restarts: what a stopped or killed admin app leaves behind, and what the next one makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from admin.audit import verify
from admin.runs import process
from admin.runs.record import Folder
from tests.support.admin_app import App, todo
from tests.support.supabase_stub import SupabaseStub

# Restarts


def test_a_run_outlives_the_admin_app_and_the_next_one_follows_it(start_app: Callable[..., App]) -> None:
    """Stopped in the middle: the stream ends without a result, the run goes on, and nothing else may start."""
    first = start_app()
    gate = first.folder / "go"
    run_id = first.start_run(WAIT_FOR=str(gate))
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
    run_id = first.start_run(WAIT_FOR="/never")
    first.wait_for_event(run_id)
    first.instance.stop()
    second = start_app()
    assert second.call("POST", f"/v1/deploys/{run_id}/cancel", role="admin").status == 202
    assert second.wait_done(run_id)["outcome"] == "interrupted"


def test_a_run_that_ended_meanwhile_tells_its_true_outcome(start_app: Callable[..., App]) -> None:
    """Its result is in its file; nobody had to be there."""
    first = start_app()
    gate = first.folder / "go"
    run_id = first.start_run(WAIT_FOR=str(gate), OUTCOME="unhealthy", CODE="5")
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
    run_id = first.start_run(WAIT_FOR="/never")
    first.wait_for_event(run_id)
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
        "settings = Settings(auth=auth, port=0, grpc_port=None, socket=folder / 'admin.sock', data=folder / 'data',\n"
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
