"""What becomes of an app under the real runner: states, reasons, restarts, signals, exit codes."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from karst_runner.health import Board
from karst_runner.logs import Ring
from karst_runner.settings import Settings

from karst.pb import controlplane_pb2 as pb

SERVER = """
    import os, socket, time
    door = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
    print("listening", flush=True)
    while True:
        door.accept()[0].close()
"""


def standard(runner: Any, service: str = "") -> int:
    """Ask grpc.health.v1 as any foreign client would."""
    stub = health_pb2_grpc.HealthStub(runner.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5, wait_for_ready=True).status)


def test_a_listening_app_is_serving_on_the_port_it_chose(start: Any) -> None:
    runner = start(SERVER)
    health = runner.until("SERVING")
    assert (health.app_port, health.kind, health.reason) == (runner.port, pb.HealthStatus.SERVER, "")
    assert (health.service, health.revision, health.HasField("exit_code")) == ("web", "abc", False)
    assert standard(runner) == standard(runner, "web") == health_pb2.HealthCheckResponse.SERVING


def test_an_app_is_not_serving_before_it_was_up_for_a_while(start: Any) -> None:
    runner = start(SERVER, {"stable_after": 30.0})
    health = runner.health()
    while health.app_port == 0:
        health = runner.health()
    assert health.status == pb.HealthStatus.STARTING
    assert standard(runner) == health_pb2.HealthCheckResponse.NOT_SERVING


def test_sigterm_reaches_the_app_and_ends_the_container_at_once(start: Any) -> None:
    runner = start(SERVER)
    runner.until("SERVING")
    began = time.monotonic()
    assert runner.stop() == 143
    assert time.monotonic() - began < 2


def test_an_app_that_leaves_by_itself_on_sigterm_makes_exit_code_zero(start: Any) -> None:
    runner = start("""
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("bye"), sys.exit(0)))
        print("ready", flush=True)
        while True: time.sleep(1)
        """)
    while "ready" not in runner.output():
        time.sleep(0.02)
    assert runner.stop() == 0
    assert "bye" in runner.output()


def test_an_app_that_ignores_sigterm_is_killed_after_the_grace(start: Any) -> None:
    app = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
    runner = start(app, {"stop_grace": 0.3})
    while "deaf" not in runner.output():
        time.sleep(0.02)
    assert runner.stop() == 137


def test_sigterm_between_two_tries_ends_the_container_at_once(start: Any) -> None:
    runner = start("raise SystemExit(3)", {"backoff": 30.0})
    runner.until("NOT_SERVING")
    assert runner.stop(timeout=2) == 0


def test_a_job_that_ends_well_is_completed_and_healthy(start: Any) -> None:
    runner = start("print('done')")
    health = runner.until("COMPLETED")
    assert (health.exit_code, health.kind, health.restarts) == (0, pb.HealthStatus.JOB, 0)
    assert standard(runner) == health_pb2.HealthCheckResponse.SERVING
    assert runner.texts() == ["done"]
    assert runner.stop() == 0


def test_a_crashing_app_is_tried_again_then_given_up_with_its_last_words(start: Any) -> None:
    runner = start("import sys; print('x'); sys.exit('no DATABASE_URL')", {"tries": 2})
    health = runner.until("FAILED")
    assert (health.exit_code, health.restarts) == (1, 2)
    assert health.reason == "exited with code 1: no DATABASE_URL (given up after 3 tries)"
    assert runner.texts(2) == ["no DATABASE_URL"] * 3, "the log is kept over restarts"


def test_after_giving_up_the_container_ends_with_the_apps_code(start: Any) -> None:
    runner = start("raise SystemExit(7)", {"tries": 1, "linger": 0.3})
    assert runner.process.wait(10) == 7
    assert "FAILED: exited with code 7 (given up after 2 tries)" in runner.output()


def test_an_app_that_wants_arguments_is_not_tried_again(start: Any) -> None:
    runner = start("import argparse; p = argparse.ArgumentParser('tool'); p.add_argument('input'); p.parse_args()")
    health = runner.until("FAILED")
    assert health.reason == ("needs arguments: set `args:` (tool: error: the following arguments are required: input)")
    assert (health.exit_code, health.restarts) == (2, 0)


def test_a_program_that_does_not_exist_is_a_reason_not_a_traceback(start: Any) -> None:
    runner = start(["no-such-program", "--serve"])
    health = runner.until("FAILED")
    assert health.reason == "cannot start: `no-such-program` is not on PATH"
    assert health.exit_code == 127
    assert runner.stop() == 0


def test_a_killed_app_names_the_signal(start: Any) -> None:
    runner = start("import os; os.kill(os.getpid(), 11)", {"tries": 0})
    assert runner.until("FAILED").reason.startswith("was ended by SIGSEGV")


def test_a_server_that_ends_by_itself_is_started_again(start: Any) -> None:
    runner = start("""
        import os, pathlib, socket, time
        door = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        time.sleep(0.5 if not pathlib.Path("second").exists() else 60)
        pathlib.Path("second").touch()
        """)
    assert runner.until("SERVING", restarts=1).restarts == 1
    assert "NOT_SERVING: ended by itself with exit code 0, though it was a server" in runner.output()


def test_port_and_host_are_filled_into_the_command(start: Any) -> None:
    runner = start(["printf", "%s\n", "${HOST}:${PORT}", "$PORT", "${OTHER}"])
    runner.until("COMPLETED")
    assert runner.texts() == [f"127.0.0.1:{runner.port}", "$PORT", "${OTHER}"]


def test_a_fixed_port_is_waited_for_and_another_one_is_named(start: Any) -> None:
    runner = start(SERVER, KARST_PORT="4999")
    deadline = time.monotonic() + 5
    while "listens on" not in runner.health().reason:
        assert time.monotonic() < deadline
    health = runner.health()
    assert health.status == pb.HealthStatus.STARTING
    assert health.reason == f"listens on port {runner.port}, but `port:` says 4999"


def test_a_port_that_goes_away_takes_the_service_out(start: Any) -> None:
    runner = start("""
        import os, socket, time
        door = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        time.sleep(1); door.close(); time.sleep(60)
        """)
    runner.until("SERVING")
    assert runner.until("NOT_SERVING").reason == f"nothing listens on port {runner.port} any more"


def test_the_health_path_decides_when_there_is_one(start: Any) -> None:
    runner = start(
        """
        import http.server, os, pathlib
        class H(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                assert self.headers["traceparent"].endswith("-00"), "probes are not traced"
                self.send_response(200 if pathlib.Path("ready").exists() else 503); self.end_headers()
        http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
        """,
        KARST_HEALTH="/ready",
    )
    deadline = time.monotonic() + 5
    while runner.health().reason != "GET /ready answered 503":
        assert time.monotonic() < deadline, runner.health()
    assert runner.health().status == pb.HealthStatus.STARTING
    (runner.log.parent / "ready").touch()
    assert runner.until("SERVING").app_port == runner.port


def test_an_app_that_runs_and_never_listens_is_a_worker(start: Any) -> None:
    runner = start("import time; time.sleep(99)", {"worker_after": 0.3, "quiet_for": 0.3})
    health = runner.until("SERVING")
    assert (health.kind, health.app_port) == (pb.HealthStatus.WORKER, 0)


def test_orphans_are_reaped(start: Any) -> None:
    """A double fork leaves children to PID 1; none may stay as a zombie."""
    runner = start(
        """
        import os, time
        for _ in range(5):
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(0.1)
                os._exit(0)
        for _ in range(5): os.wait()
        print("forked", flush=True); time.sleep(99)
        """,
    )
    deadline = time.monotonic() + 5
    while "forked" not in runner.output() or zombies(runner.process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def zombies(parent: int) -> int:
    found = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    state, ppid = stat.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            found += state == "Z" and int(ppid) == parent
    return found


def test_what_a_crashed_app_leaves_behind_does_not_hold_its_port(start: Any) -> None:
    runner = start("""
        import os, pathlib, socket, sys, time
        door = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        if not pathlib.Path("second").exists():
            pathlib.Path("second").touch()
            if os.fork() == 0: time.sleep(99)
            sys.exit(1)
        time.sleep(99)
        """)
    assert runner.until("SERVING", restarts=1).restarts == 1


def test_a_launcher_may_leave_and_its_child_is_the_app_then(start: Any) -> None:
    child = """
import os, socket, time
time.sleep(0.5)
door = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
time.sleep(99)
"""
    runner = start(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])")
    health = runner.until("SERVING")
    assert (health.kind, health.restarts) == (pb.HealthStatus.SERVER, 0)
    assert runner.stop() == 143


def test_a_jobs_slow_helper_does_not_change_its_outcome(start: Any) -> None:
    runner = start("import subprocess; subprocess.Popen(['sh', '-c', 'sleep 0.3; exit 9']); print('done')")
    assert runner.until("COMPLETED").exit_code == 0


def test_the_runners_own_port_is_not_to_be_had_by_the_app(start: Any, free: int) -> None:
    app = (
        f"import socket, sys\ntry: socket.create_server(('', {free}))\nexcept OSError as e: sys.exit(f'{free}: {{e}}')"
    )
    reason = start(app, {"tries": 0, "listen_port": free}).until("FAILED").reason
    assert f"port {free} is the kit's" in reason


def test_the_runners_port_is_kept_until_its_server_takes_it(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only until the server begins to start: an app on a busy machine was quicker."""
    from karst_runner import __main__ as runner
    from karst_runner import service

    def taken() -> bool:
        try:
            socket.create_server(("", free)).close()
        except OSError:
            return True
        return False

    seen = []

    def serve(*_: Any, vacate: Any) -> None:
        seen.append(taken())
        vacate()
        seen.append(taken())

    monkeypatch.setattr(service, "serve", serve)
    settings = replace(Settings.from_environment(["true"], {}), listen_port=free)
    runner._Server(settings, Board(), Ring(1000), None).run()
    assert seen == [True, False]


def test_a_port_that_the_mesh_needs_is_refused_to_the_app_in_words(start: Any) -> None:
    runner = start(SERVER, {"sidecar_ports": []})
    runner.until("SERVING")
    port = runner.port
    runner.stop()
    taken = start(SERVER, {"sidecar_ports": [port]}, PORT=str(port))
    assert taken.until("NOT_SERVING").reason == f"listens on port {port}, which is the kit's: let it take another one"


def test_other_signals_go_on_to_the_app(start: Any) -> None:
    runner = start("""
        import signal, time
        signal.signal(signal.SIGHUP, lambda *_: print("reloaded", flush=True))
        print("ready", flush=True)
        while True: time.sleep(1)
        """)
    for word in ("ready", "reloaded"):
        deadline = time.monotonic() + 5
        while word not in runner.output():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        runner.process.send_signal(signal.SIGHUP)


def test_the_app_gets_its_signals_unblocked_and_a_session_of_its_own(start: Any) -> None:
    runner = start("import os, signal; print(signal.pthread_sigmask(0, []), os.getsid(0) == os.getpid())")
    runner.until("COMPLETED")
    assert runner.texts() == ["set() True"]


def test_a_listener_of_somebody_else_in_the_same_network_is_not_the_apps(start: Any) -> None:
    """The sidecar shares the network namespace; only sockets that the app's processes hold count."""
    runner = start("import time; time.sleep(99)", KARST_KIND="server")
    with socket.create_server(("127.0.0.1", runner.port)):
        time.sleep(1)
        assert runner.health().status == pb.HealthStatus.STARTING
        assert runner.health().app_port == 0


def test_a_watching_client_of_grpc_health_is_told_of_changes(start: Any) -> None:
    runner = start("import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)")
    stub = health_pb2_grpc.HealthStub(runner.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="web"), timeout=10, wait_for_ready=True)
    states = []
    for answer in watch:
        states.append(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
        if states[-1] == "NOT_SERVING":
            (runner.log.parent / "go").touch()
        if states[-1] == "SERVING":
            break
    assert states[-2:] == ["NOT_SERVING", "SERVING"], "a job that ended well is healthy"
    watch.cancel()


def test_deploy_is_not_for_runners(start: Any) -> None:
    runner = start("print()")
    with pytest.raises(grpc.RpcError) as failure:
        runner.stub.Deploy(pb.DeployRequest(slugs=["gh:a/b"]), timeout=5, wait_for_ready=True)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_app_is_not_started_before_its_secrets_are_delivered(start: Any, tmp_path: Path) -> None:
    delivered = tmp_path / "delivered"
    runner = start("print('started', flush=True)", {"wait_for": str(delivered)})
    assert "waits for its secrets" in runner.until("STARTING").reason
    assert runner.texts() == []
    delivered.touch()
    health = runner.until("COMPLETED")
    assert (health.restarts, runner.texts()) == (0, ["started"])
