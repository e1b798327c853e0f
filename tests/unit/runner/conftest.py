"""A real runner as a child process, with a Python app, and a gRPC client that asks it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from karst.pb import controlplane_pb2 as pb
from karst.pb import controlplane_pb2_grpc as pb_grpc

HERE = Path(__file__).resolve().parent
# The tests beside this file import karst_runner; in the image it is all there is.
sys.path.insert(0, str(HERE.parents[2] / "modules" / "karst_service" / "image" / "runner"))

QUICK = {"stable_after": 0.2, "backoff": 0.05, "tries": 2, "linger": 30.0, "stop_grace": 3.0}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Runner:
    """One runner process and what can be asked of it.

    Attributes:
        process: the runner.
        port: the PORT its app was given.
        stub: a ControlPlane client.
        channel: the client's channel.
    """

    def __init__(self, folder: Path, app: str | list[str], overrides: dict[str, Any], env: dict[str, str]) -> None:
        self.port = free_port()
        self.listen_port = overrides.get("listen_port") or free_port()
        if isinstance(app, str):
            script = folder / "app.py"
            script.write_text(textwrap.dedent(app))
            app = [sys.executable, str(script)]
        settings = {**QUICK, "listen_port": self.listen_port, **overrides}
        base = {key: value for key, value in os.environ.items() if not key.startswith(("KARST_", "OTEL_"))}
        self.log = folder / "stdout"
        self.stdout: int | None = None
        if overrides.get("mirror_bytes"):  # a pipe that only the test reads
            self.stdout, out = os.pipe()
            settings["mirror_bytes"] = overrides["mirror_bytes"]
        else:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "drive.py"), json.dumps(settings), *app],
            env={**base, "KARST_SERVICE": "web", "KARST_REVISION": "abc", "PORT": str(self.port), **env},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        os.close(out)
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.listen_port}",
            options=[
                ("grpc.enable_http_proxy", 0),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 50),
            ],
        )
        self.stub = pb_grpc.ControlPlaneStub(self.channel)

    def health(self) -> pb.HealthStatus:
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.stub.HealthCheck(empty_pb2.Empty(), timeout=1, wait_for_ready=True)
            except grpc.RpcError:
                assert self.process.poll() is None, f"the runner ended:\n{self.output()}"
                assert time.monotonic() < deadline, self.output()

    def until(self, status: str, restarts: int = 0, timeout: float = 10.0) -> pb.HealthStatus:
        """Ask until the status is ``status`` after so many restarts; fail with the last answer and the log when not."""
        deadline = time.monotonic() + timeout
        while True:
            health = self.health()
            if pb.HealthStatus.Status.Name(health.status) == status and health.restarts >= restarts:
                return health
            assert time.monotonic() < deadline, f"not {status}:\n{health}\n{self.output()}"
            time.sleep(0.02)

    def lines(self, **request: Any) -> list[pb.LogLine]:
        return list(self.stub.StreamLogs(pb.LogRequest(**request), timeout=20, wait_for_ready=True))

    def texts(self, stream: int | None = None) -> list[str]:
        """What the app wrote so far (or one stream of it), without the runner's own lines."""
        return [line.msg for line in self.lines() if (line.stream == stream if stream else line.stream != 3)]

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, number: int = signal.SIGTERM, timeout: float = 10.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def close(self) -> None:
        self.channel.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(6)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.stdout is not None:
            os.close(self.stdout)


Start = Callable[..., Runner]


@pytest.fixture
def free() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(app, overrides={…}, **env)` runs an app (source text, or argv) under a real runner."""
    running: list[Runner] = []

    def begin(app: str | list[str], overrides: dict[str, Any] | None = None, **env: str) -> Runner:
        folder = tmp_path / str(len(running))
        folder.mkdir()
        running.append(Runner(folder, app, overrides or {}, env))
        return running[-1]

    yield begin
    for runner in running:
        runner.close()
