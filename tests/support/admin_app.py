"""Whole admin apps for tests: real waitress servers, a real Unix socket, and a small real command instead of the kit's.

The command reads what it shall do from the list file that the app wrote for it (the first entry's ``env``), so that
each test says in its request how the run behaves.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from admin.auth.settings import AuthSettings
from admin.instance import Instance
from admin.settings import Limits, Settings
from admin.stack import NoSuchService
from tests.support.supabase_stub import SupabaseStub

COMMAND = """
import base64, json, os, signal, sys, time
from pathlib import Path

verb, path = sys.argv[1], Path(sys.argv[sys.argv.index("--file") + 1])
entry = json.loads(path.read_text())[0]
todo = entry.get("env", {}) if isinstance(entry, dict) else {}
seq = 0

def emit(kind, **fields):
    global seq
    seq += 1
    print(json.dumps({"seq": seq, "ts": "2025-01-01T00:00:00.000Z", "type": kind, **fields}), flush=True)

def result(outcome, code):
    row = {"service": "a", "status": "SERVING", "revision": "1", "reason": ""}
    emit("result", outcome=outcome, exit_code=code, services=[row])
    sys.exit(code)

def interrupted(*_):
    Path(todo["NOTE"]).open("a").write("interrupted\\n") if "NOTE" in todo else None
    time.sleep(float(todo.get("CLEAN_UP", "0")))
    result("interrupted", 130)

signal.signal(signal.SIGINT, interrupted)
emit("phase", phase=verb, state="start")
if "PRINT" in todo:
    os.write(1, base64.b64decode(todo["PRINT"]) + b"\\n")
if "DUMP_ENV" in todo:
    Path(todo["DUMP_ENV"]).write_text(json.dumps({"env": dict(os.environ), "argv": sys.argv}))
if verb == "plan":
    emit("plan", services=json.loads(todo.get("PLAN", '{"a": {"action": "create", "steps": {}}}')), changes=1)
for number in range(int(todo.get("STEPS", "3"))):
    emit("log", line=f"step {number}")
    time.sleep(float(todo.get("PAUSE", "0")))
if "WAIT_FOR" in todo:
    while not Path(todo["WAIT_FOR"]).exists():
        time.sleep(0.02)
if "COMPLAIN" in todo:
    print(todo["COMPLAIN"], file=sys.stderr)
if "DIE" in todo:
    os.kill(os.getpid(), int(todo["DIE"]))
if "EXIT" in todo:
    sys.exit(int(todo["EXIT"]))
result(todo.get("OUTCOME", "ok"), int(todo.get("CODE", "0")))
"""


def fake_command(folder: Path) -> Path:
    """An executable that takes the kit's arguments and prints events."""
    path = folder / "fake-iac"
    if not path.exists():
        path.write_text(f"#!{sys.executable}\n{COMMAND}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class FakeStack:
    """A stack without Docker: what the routes show of it is what a test put here."""

    def __init__(self) -> None:
        self.lines = [{"service": "web", "ts": f"2025-01-01T00:00:0{n}Z", "msg": f"line {n}"} for n in range(3)]

    follow_seconds = 3600.0

    def name(self) -> str:
        return "test"

    def certificates(self) -> list[dict[str, Any]]:
        row = {
            "name": "web",
            "uri": "spiffe://karst.local/svc/web",
            "issuer": "test",
            "serial": "1",
            "fingerprint": "2",
        }
        return [{**row, "not_after": "2035-01-08T00:00:00Z", "seconds_left": 9, "due": "", "served": "yes", "note": ""}]

    def graph(self) -> dict[str, Any]:
        edge = {"from": "edge", "to": "web", "may": True, "why": "expose", "did": True, "requests": 9, "errors": 0}
        numbers = {"refused": 0, "rate": 1.5, "error_rate": 0.0, "p50_ms": 0.9, "p95_ms": 4.0, "p99_ms": 6.0}
        nodes = [{"id": "edge", "kind": "edge", "allow": []}, {"id": "web", "kind": "service", "allow": ["edge"]}]
        return {"stack": "test", "nodes": nodes, "edges": [edge | numbers]}

    def list_services(self) -> list[dict[str, Any]]:
        return [{"service": "web", "status": "SERVING", "revision": "abc", "reason": ""}]

    def logs(
        self, service: str, *, tail: int, follow: bool, stop: Callable[[], bool]
    ) -> Iterator[dict[str, str] | None]:
        self._check(service)
        yield from self.lines[-tail:] if tail else []
        until = time.monotonic() + self.follow_seconds
        while follow and not stop() and time.monotonic() < until:
            time.sleep(0.02)
            yield None

    def stats(self, service: str) -> dict[str, Any]:
        self._check(service)
        return {"service": service, "stats": {"server.live": 1}}

    def _check(self, service: str) -> None:
        if service not in ("", "web"):
            raise NoSuchService("the stack has no such service", code="unknown_service")


@dataclass
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.body.splitlines()]
        return [event for event in found if event.get("type") != "heartbeat"]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class App:
    """A running admin app, and how to talk to it."""

    instance: Instance
    supabase: SupabaseStub
    stack: FakeStack
    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.instance.port

    @property
    def data(self) -> Path:
        return self.instance.settings.data

    def token(self, role: str) -> str:
        """The token of a user with this role, the same user each time."""
        if role not in self.tokens:
            self.tokens[role] = self.supabase.token(self.supabase.add_user(None if role == "nobody" else role))
        return self.tokens[role]

    def connect(self, *, unix: bool = False) -> http.client.HTTPConnection:
        if unix:
            return _UnixConnection(self.instance.socket_path)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        role: str | None = None,
        token: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        unix: bool = False,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give the response as soon as its headers are there."""
        sent = dict(headers or {})
        bearer = self.token(role) if role else token
        if bearer is not None:
            sent.setdefault("Authorization", f"Bearer {bearer}")
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if method == "POST":
            raw = b"{}" if raw is None else raw
            sent.setdefault("Content-Type", "application/json")
        connection = self.connect(unix=unix)
        try:
            connection.request(method, path, raw, {name: value for name, value in sent.items() if value != ""})
            response = connection.getresponse()
            # A response with `Connection: close` keeps the socket to itself.
            with contextlib.closing(response):
                yield response
        finally:
            connection.close()

    def call(self, method: str, path: str, **options: Any) -> Answer:
        with self.open(method, path, **options) as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    def raw(self, data: bytes, *, wait: float = 5.0) -> bytes:
        """Send bytes as they are and read until the server closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as client:
            client.sendall(data)
            received = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while chunk := client.recv(65536):
                    received += chunk
            return received

    def start_run(self, **env: str) -> str:
        """Start a run that behaves as ``env`` says; return its id."""
        answer = self.call("POST", "/v1/deploys", role="deployer", body=todo(**env))
        assert answer.status == 202, answer.body
        return str(answer.json()["id"])

    def wait_for_event(self, run_id: str, kind: str = "log") -> None:
        with self.open("GET", f"/v1/deploys/{run_id}/events", role="viewer") as response:
            while json.loads(response.readline())["type"] != kind:
                pass

    def wait_done(self, run_id: str, seconds: float = 15.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run: dict[str, Any] = self.call("GET", f"/v1/deploys/{run_id}", role="viewer").json()
            if run["state"] == "finished":
                return run
            time.sleep(0.05)
        raise AssertionError(f"run {run_id} did not end")

    def run_file(self, run_id: str, name: str) -> Path:
        return self.data / "runs" / run_id / name

    def stop(self) -> None:
        """Stop the app and whatever run it left behind."""
        with contextlib.suppress(Exception):
            self.instance.stop()
        for record in (self.data / "runs").glob("*/run.json"):
            run = json.loads(record.read_text())
            if run["state"] != "finished" and run["pid"] > 1:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(run["pid"], signal.SIGKILL)


def todo(slug: str = "gh:example/app", **env: str) -> dict[str, Any]:
    """The body of a request whose run behaves as ``env`` says."""
    return {"slugs": [{"slug": slug, "env": env}] if env else [slug]}


def settings_of(supabase: SupabaseStub, folder: Path, **changes: Any) -> Settings:
    limits = replace(Limits(threads=12, streams=8, streams_per_subject=6), **changes.pop("limits", {}))
    auth = AuthSettings(supabase.url, supabase.service_role_key, issuer=supabase.issuer, public_key=supabase.anon_key)
    auth = replace(auth, **changes.pop("auth", {}))
    settings = Settings(
        auth=auth,
        port=0,
        grpc_port=None,
        secrets=folder / "secrets",
        socket=folder / "admin.sock",
        socket_given=True,
        data=folder / "data",
        command=(str(fake_command(folder)),),
        limits=limits,
    )
    return replace(settings, **changes)


def running(supabase: SupabaseStub, folder: Path, **changes: Any) -> App:
    """Start an app over ``folder``."""
    stack = FakeStack()
    instance = Instance(settings_of(supabase, folder, **changes), stack=stack)
    instance.start()
    return App(instance, supabase, stack, folder)
