"""`iac --url` and `--socket`: the command against a real admin app, over cut connections, refusals and all."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admin.auth.peer import PeerGrants
from admin.auth.roles import Role
from admin.cli.main import run
from admin.cli.remote import sessions, watch
from tests.support.admin_app import App
from tests.support.supabase_stub import User

Iac = Callable[..., tuple[int, str, str]]


@pytest.fixture
def iac(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iac:
    """Runs the command in this process, in a folder and with a configuration of its own; code, stdout, stderr."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".env").write_text("")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("KARST_URL", "KARST_SOCKET"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        capsys.readouterr()
        reader, writer = os.pipe()
        os.write(writer, stdin.encode())
        os.close(writer)
        with os.fdopen(reader) as given, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", given)
            code = run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def listed(*entries: Any) -> str:
    """A list file in the working folder."""
    Path("repos.yaml").write_text(json.dumps(list(entries) or ["gh:example/app"]))
    return "repos.yaml"


def url_of(app: App) -> str:
    return f"http://127.0.0.1:{app.port}"


def signed_in(app: App, role: str = "deployer") -> str:
    """Store a token as `iac login --token` does; the URL."""
    sessions.save(sessions.Session(url_of(app), app.token(role), sessions.expiry(app.token(role))))
    return url_of(app)


def person(app: App, role: str | None = "deployer") -> User:
    return app.supabase.add_user(role, password="correct horse")


def test_login_with_a_password_from_stdin_deploy_and_logout(
    app: App, iac: Iac, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way; the token is in one file, 0600, and neither password nor token in anything that is printed."""
    user, url = person(app), url_of(app)
    monkeypatch.setenv("KARST_URL", url)
    code, out, err = iac("login", "--email", user.email, stdin="correct horse\n")
    assert (code, out) == (0, "")
    assert f"signed in at {url} as {user.email}, deployer" in err
    path = sessions.path_of(url)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    session = sessions.load(url)
    assert session is not None
    assert "correct horse" not in path.read_text()
    code, out, err = iac("deploy", "--file", listed())
    assert (code, "step 2" in err, out.split()[:2]) == (0, True, ["SERVICE", "STATUS"])
    assert session.token not in out + err
    assert iac("logout")[0] == 0
    assert not path.exists()
    assert app.call("POST", "/v1/deploys", token=session.token).status == 401
    code, _, err = iac("health")
    assert (code, "`iac --url" in err and "login`" in err) == (4, True)


def test_the_events_and_the_exit_code_are_those_of_the_run(app: App, iac: Iac) -> None:
    url = signed_in(app)
    failing = {"slug": "gh:example/app", "env": {"OUTCOME": "unhealthy", "CODE": "5"}}
    code, out, _ = iac("--url", url, "deploy", "--events", "--file", listed(failing))
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, events[-1]["type"], events[-1]["exit_code"]) == (5, "result", 5)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    code, out, _ = iac("--url", url, "deploy", "--json", "--file", listed())
    assert (code, json.loads(out)["outcome"]) == (0, "ok")
    code, out, _ = iac("--url", url, "plan", "--json", "--detailed-exitcode", "--file", listed())
    plan = json.loads(out)
    assert (code, plan["services"]["a"]["action"]) == (2, "create")
    assert iac("--url", url, "apply")[0] == 0
    code, out, _ = iac("--url", url, "runs", "--json")
    assert [one["kind"] for one in json.loads(out)] == ["apply", "plan", "deploy", "deploy"]
    code, _, err = iac("--url", url, "runs", plan["run"])
    assert (code, "step 0" in err) == (0, True)


@pytest.mark.slow
def test_health_status_and_logs_of_the_services(app: App, iac: Iac) -> None:
    url = signed_in(app, "viewer")
    assert iac("--url", url, "health")[:1] == (0,)
    assert json.loads(iac("--url", url, "health", "--json", "web")[1])[0]["status"] == "SERVING"
    code, _, err = iac("--url", url, "health", "wbe")
    assert (code, "did you mean `web`?" in err) == (2, True)
    status = json.loads(iac("--url", url, "status", "--json")[1])
    assert (status["stack"], status["last_run"], len(status["services"])) == ("test", None, 1)
    assert "stack test" in iac("--url", url, "status")[1]
    assert iac("--url", url, "logs", "--tail", "2")[1] == "web | line 1\nweb | line 2\n"
    assert iac("--url", url, "logs", "--grep", "[01]", "--service", "web")[1] == "web | line 0\nweb | line 1\n"
    assert iac("--url", url, "logs", "--since", "2025-01-01T00:00:02Z")[1] == "web | line 2\n"
    line = json.loads(iac("--url", url, "logs", "--tail", "1", "--json")[1])
    assert line == {"service": "web", "ts": "2025-01-01T00:00:02Z", "msg": "line 2"}
    app.stack.list_services = lambda: [{"service": "web", "status": "FAILED"}]  # type: ignore[method-assign]
    time.sleep(1.1)
    assert iac("--url", url, "health")[0] == 5


class Cutting:
    """A way to the admin app that cuts every connection after so many bytes of answer."""

    def __init__(self, port: int, limit: int) -> None:
        self._port, self._limit, self.cuts = port, limit, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server, contextlib.suppress(OSError):
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            left = self._limit
            while data := server.recv(min(left, 65536)):
                client.sendall(data)
                left -= len(data)
                if left <= 0:
                    self.cuts += 1
                    break
            # Not only closed: the other thread still reads from it.
            client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _up(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def cutting(app: App) -> Iterator[Callable[[int], Cutting]]:
    made: list[Cutting] = []

    def make(limit: int) -> Cutting:
        made.append(Cutting(app.port, limit))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.slow
def test_a_cut_connection_is_made_again_and_no_event_is_lost_or_shown_twice(
    app: App, iac: Iac, cutting: Callable[[int], Cutting]
) -> None:
    way = cutting(1200)
    sessions.save(sessions.Session(way.url, app.token("deployer")))
    todo = {"slug": "gh:example/app", "env": {"STEPS": "40", "PAUSE": "0.02"}}
    code, out, _ = iac("--url", way.url, "deploy", "--events", "--file", listed(todo))
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (code, events[-1]["type"], way.cuts > 2) == (0, "result", True)
    assert len(app.instance.runs.all()) == 1


@pytest.mark.slow
def test_an_answer_that_was_cut_off_starts_no_second_run(app: App, iac: Iac, cutting: Callable[[int], Cutting]) -> None:
    """The same Idempotency-Key: the next try finds the run that the first one had started."""
    way = cutting(60)
    sessions.save(sessions.Session(way.url, app.token("deployer")))
    code, _, err = iac("--url", way.url, "deploy", "--file", listed())
    assert (code, way.cuts > 2) == (1, True), err
    assert len(app.instance.runs.all()) == 1


@pytest.mark.slow
def test_a_connection_that_never_comes_back_leaves_the_outcome_unknown(
    app: App, iac: Iac, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit code 6, with the way to ask later."""
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    url = signed_in(app)
    todo = {"slug": "gh:example/app", "env": {"WAIT_FOR": str(tmp_path / "go")}}
    threading.Timer(1.5, app.instance.stop).start()
    code, _, err = iac("--url", url, "deploy", "--file", listed(todo))
    assert (code, "not known" in err, "runs 2" in err) == (6, True, True)
    (tmp_path / "go").touch()


def test_refusals_are_sentences_with_the_documented_exit_codes(app: App, iac: Iac, tmp_path: Path) -> None:
    url = signed_in(app)
    run_id = app.start_run(WAIT_FOR=str(tmp_path / "go"))
    app.wait_for_event(run_id)  # from now on it minds signals
    code, _, err = iac("--url", url, "deploy", "--file", listed())
    assert (code, run_id in err) == (3, True)
    code, out, _ = iac("--url", url, "cancel", "--json")
    assert (code, json.loads(out)["state"]) == (0, "cancelling")
    assert app.wait_done(run_id)["outcome"] == "interrupted"
    code, _, err = iac("--url", url, "cancel")
    assert (code, "no run is under way" in err) == (1, True)
    assert iac("--url", url, "cancel", run_id)[0] == 1
    assert iac("--url", url, "cancel", "x")[0] == 2
    Path("folder").mkdir()
    code, _, err = iac("--url", url, "deploy", "--file", listed("dir:folder"))
    assert (code, "folder of this machine" in err) == (4, True)
    code, _, err = iac("--url", url, "deploy", "--file", listed("gh:owner"))
    assert (code, "repos.yaml" in err) == (2, True)
    signed_in(app, "viewer")
    code, _, err = iac("--url", url, "deploy", "--file", listed())
    assert (code, "needs the role deployer" in err) == (4, True)
    app.supabase.fail_with = 500
    try:
        code, _, err = iac("--url", signed_in(app), "deploy", "--file", listed())
    finally:
        app.supabase.fail_with = 0
    assert (code, "the auth server answered 500" in err) == (1, True)


def test_what_cannot_be_done_from_afar_or_safely_is_said_so(iac: Iac) -> None:
    for arguments, code, text in [
        (("--url", "http://127.0.0.1:1", "health"), 1, "no admin app answers at http://127.0.0.1:1"),
        (("--socket", "/no/such/socket", "health"), 1, "no admin app answers at unix:/no/such/socket"),
        (("--url", "http://127.0.0.1:1", "destroy", "--yes"), 2, "`destroy` works on the machine itself"),
        (("--url", "http://127.0.0.1:1", "deploy", "--refresh"), 2, "--refresh"),
        (("--url", "http://127.0.0.1:1", "--stack", "other", "health"), 2, "--stack"),
        (("--url", "http://10.1.2.3", "health"), 2, "use https://"),
        (("--url", "ftp://127.0.0.1", "health"), 2, "is not the URL"),
        (("--url", "http://127.0.0.1:1", "--socket", "/s", "health"), 2, "two admin apps"),
        (("--url", "http://127.0.0.1:1", "helth"), 2, "did you mean `health`?"),
        (("runs",), 2, "none is named"),
        (("cancel", "20250101t000000000000-00000000"), 2, "--url"),
    ]:
        found, _, err = iac(*arguments)
        assert (found, text.lower() in err.lower()) == (code, True), (arguments, err)


@pytest.mark.slow
def test_on_the_unix_socket_listed_users_need_no_token(start_app: Callable[..., App], iac: Iac) -> None:
    app = start_app(peers=PeerGrants(uids={os.getuid(): Role.DEPLOYER}))
    path = str(app.instance.socket_path)
    code, out, _ = iac("--socket", path, "deploy", "--json", "--file", listed())
    assert (code, json.loads(out)["outcome"]) == (0, "ok")
    assert iac("--socket", path, "logs")[1].startswith("web | line 0")


@pytest.mark.slow
def test_a_token_is_refreshed_before_it_ends_and_a_used_refresh_token_is_told(app: App, iac: Iac) -> None:
    user, url = person(app), url_of(app)
    app.supabase.lifetime = 30  # less than the margin: each command refreshes
    try:
        assert iac("--url", url, "login", "--email", user.email, stdin="correct horse\n")[0] == 0
        first = sessions.load(url)
        assert iac("--url", url, "health")[0] == 0
        second = sessions.load(url)
    finally:
        app.supabase.lifetime = 3600
    assert first is not None
    assert second is not None
    assert (first.refresh != second.refresh, first.token != second.token) == (True, True)
    sessions.save(first)
    code, _, err = iac("--url", url, "health")
    assert (code, "sign-in has ended" in err and "iac login" in err) == (4, True)


@pytest.mark.slow
def test_a_login_that_is_refused_keeps_nothing(start_app: Callable[..., App], iac: Iac) -> None:
    app = start_app()
    url, user, nobody = url_of(app), person(app), person(app, None)
    assert iac("--url", url, "login", "--email", user.email, stdin="wrong\n")[0] == 4
    code, _, err = iac("--url", url, "login", "--email", nobody.email, stdin="correct horse\n")
    assert (code, "no role" in err) == (4, True)
    assert iac("--url", url, "login", "--token", stdin="garbage\n")[0] == 4
    assert iac("--url", url, "login", "--token", stdin="")[0] == 2
    assert sessions.load(url) is None
    assert iac("--url", url, "login", "--token", stdin=app.token("viewer") + "\n")[0] == 0
    assert sessions.load(url) is not None


@pytest.mark.slow
def test_without_a_publishable_key_a_token_has_to_be_pasted(start_app: Callable[..., App], iac: Iac) -> None:
    app = start_app(auth={"public_key": ""})
    code, _, err = iac("--url", url_of(app), "login", "--email", "a@people.test", stdin="x\n")
    assert (code, "iac login --token" in err) == (2, True)


def test_a_run_of_the_admin_app_is_never_sent_to_an_admin_app(app: App, tmp_path: Path) -> None:
    """KARST_URL in the server's own environment or .env would make it call itself for ever."""
    dump = tmp_path / "dump.json"
    app.wait_done(app.start_run(DUMP_ENV=str(dump)))
    env = json.loads(dump.read_text())["env"]
    assert (env["KARST_URL"], env["KARST_SOCKET"]) == ("", "")
