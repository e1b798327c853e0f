"""When the gate gives up an app that the engine starts again and again."""

from __future__ import annotations

import contextlib
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karst import containers, gate
from karst.gate import Gate, Pod, crashing
from karst.probe import Health
from tests.support.images import IMAGES

POD = Pod("p1", "web-pod-1", ("127.0.0.1", 1))
GATE = Gate("web", "s", (POD,), Path("/s"), "karst.local", 60, own_image=True)
STARTING = Health("web", "STARTING", reason="does not listen on a port yet")


class Docker:
    """An engine with one pod and its app; ``details`` is what inspecting the app says."""

    def __init__(self, details: dict[str, Any]) -> None:
        self.api, self._details = self, details

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        row = {"Names": ["/x"], "State": "running", "Created": 1}
        labels = {"karst.service": "web", "karst.stack": "s"}
        return [
            {**row, "Id": "p1", "Labels": {**labels, "karst.role": "pod"}},
            {
                **row,
                "Id": "a1",
                "Labels": {**labels, "karst.role": "app"},
                "HostConfig": {"NetworkMode": "container:p1"},
            },
            {
                **row,
                "Id": "a0",
                "Labels": {**labels, "karst.role": "app"},
                "HostConfig": {"NetworkMode": "container:p0"},
            },
        ]

    def inspect_container(self, identifier: str) -> dict[str, Any]:
        assert identifier == "a1", "an older generation is none of this gate's concern"
        return self._details


def test_a_few_restarts_are_no_verdict() -> None:
    """A database that comes up a moment later is met by the second start."""
    assert crashing(GATE, POD, Docker({"RestartCount": 2, "State": {"ExitCode": 1}}), STARTING) is STARTING


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        ({"ExitCode": 3}, "exited with code 3 (started again 3 times)", 3),
        (
            {"ExitCode": 0},
            "exited with code 0 (started again 3 times); an app with `dockerfile:` has to be a server, which goes on"
            " and listens",
            0,
        ),
        ({"ExitCode": 137, "OOMKilled": True}, "killed for want of memory (started again 3 times)", 137),
    ],
)
def test_an_app_that_keeps_ending_has_failed_with_the_engines_word_for_it(
    state: dict[str, Any], reason: str, code: int
) -> None:
    found = crashing(GATE, POD, Docker({"RestartCount": 3, "State": state}), STARTING)
    assert (found.status, found.reason, found.exit_code) == ("FAILED", reason, code)


class Executing:
    """An engine with the sidecars of two pods; it notes in which of them something is run."""

    def __init__(self) -> None:
        self.api, self.run_in = self, []  # type: ignore[var-annotated]

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        labels = {"karst.service": "web", "karst.stack": "s", "karst.role": "sidecar"}
        row = {"Names": ["/x"], "State": "running", "Created": 1, "Labels": labels}
        return [{**row, "Id": f"s{n}", "HostConfig": {"NetworkMode": f"container:p{n}"}} for n in (0, 1)]

    def exec_create(self, identifier: str, _: list[str]) -> dict[str, str]:
        self.run_in.append(identifier)
        return {"Id": "e"}

    def exec_start(self, *_: str, detach: bool) -> None:
        assert not detach


def _waits(monkeypatch: pytest.MonkeyPatch, *, drained: bool) -> list[str]:
    """Let a gate wait for a pod that nobody is let through to while it is drained; return where something was run."""
    docker = Executing()

    @contextlib.contextmanager
    def engine() -> Iterator[Executing]:
        yield docker

    monkeypatch.setattr(containers, "engine", engine)

    def probe(*_: Any, **__: Any) -> Health:
        return Health("web", "UNREACHABLE" if drained and not docker.run_in else "SERVING", app_port=8000)

    monkeypatch.setattr("karst.probe.probe", probe)
    monkeypatch.setattr("karst.probe.ready", lambda *_, **__: True)
    monkeypatch.setattr(gate, "BACK_SECONDS", 0.15)
    only = Gate("web", "s", (POD,), Path("/s"), "karst.local", 10)
    assert gate.wait(only)["p1"].healthy
    return docker.run_in


def test_a_pod_that_stays_out_of_rotation_is_put_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier gate refused it; in a first deploy, which is ready at once, nothing is run."""
    assert _waits(monkeypatch, drained=True) == ["s1"]
    assert _waits(monkeypatch, drained=False) == []


def test_what_puts_a_pod_back_asks_envoy_and_forgets_the_drain(tmp_path: Path) -> None:
    asked: list[bytes] = []

    class Admin(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")

    program = (IMAGES / "sidecar" / "drain").read_text().replace("/run/karst", str(tmp_path))
    with socketserver.UnixStreamServer(str(tmp_path / "admin.sock"), Admin) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            subprocess.run([sys.executable, "-IS", "-c", program, "back"], check=True)
            assert asked == [], "it is not drained"
            (tmp_path / "drained").touch()
            subprocess.run([sys.executable, "-IS", "-c", program, "back"], check=True)
        finally:
            server.shutdown()
            thread.join()
    assert asked == [b"POST /healthcheck/ok HTTP/1.1\r\n"]
    assert not (tmp_path / "drained").exists()
