"""A changed line until the new version answers, and what an unchanged service costs: the kit beside Compose."""

from __future__ import annotations

import http.client
import secrets
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from karst.toolchain import base_image, record, tools
from karst.tunnel import Unreachable, connect, get
from tests.bench_build import app
from tests.support import images
from tests.support.kit import Kit, free_ports

ROUNDS = 7
UNCHANGED_ROUNDS = 5
MORE = 10
IDLE_SECONDS = 10
PAUSE = 0.02
POLL_SECONDS = 0.02
WEB = {
    "slug": "dir:web",
    "allow": ["operator", "edge"],
    "expose": True,
}  # the bench asks as the operator, and at the front door


@dataclass
class Times:
    """Seconds, one entry a round.

    Attributes:
        kit: from the start of `iac deploy` until the new version answers over mTLS.
        kit_end: until `iac deploy` has ended: old generation drained and removed, every service asked.
        compose: until `up --build --wait` has ended.
        compose_answer: until the new version answers.
        phases: of `iac deploy`, by name.
        one, many: `iac deploy` with nothing to do, for one service and for MORE more.
        idle, during: how long a running service took to answer, before and while MORE others were built and started.
    """

    kit: list[float] = field(default_factory=list)
    kit_end: list[float] = field(default_factory=list)
    compose: list[float] = field(default_factory=list)
    compose_answer: list[float] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=dict)
    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)


def measure(home: Path) -> Times:
    """Deploy the app both ways, then change it round by round, one way after the other."""
    times = Times()
    kit = Kit(home / "kit")
    app.source(kit.home / "web")
    kit.write_list([WEB])
    with Compose(home / "compose") as compose:
        try:
            kit.deploy()
            compose.up()
            for number in range(ROUNDS):
                _change_kit(kit, f"kit {number}", times)
                _change_compose(compose, f"compose {number}", times)
            times.one = [_seconds(kit.deploy) for _ in range(UNCHANGED_ROUNDS)]
            for number in range(MORE):
                app.source(kit.home / f"web{number}", f"web{number}")
            kit.write_list([WEB, *(f"dir:web{number}" for number in range(MORE))])
            with Client(kit, times.idle):
                time.sleep(IDLE_SECONDS)
            with Client(kit, times.during):
                kit.deploy()
            times.many = [_seconds(kit.deploy) for _ in range(UNCHANGED_ROUNDS)]
        finally:
            kit.iac("destroy", "--yes", check=None)
    return times


def _change_kit(kit: Kit, version: str, times: Times) -> None:
    app.change(kit.home / "web", version)
    events: list[dict[str, object]] = []
    end, answer = _timed(lambda: events.extend(kit.deploy()), lambda: _ask(kit, version))
    times.kit_end.append(end)
    times.kit.append(answer)
    for event in events:
        if event["type"] == "phase" and event["state"] == "done":
            times.phases.setdefault(str(event["phase"]), []).append(float(str(event["seconds"])))


def _change_compose(compose: Compose, version: str, times: Times) -> None:
    app.change(compose.folder, version)
    end, answer = _timed(compose.up, lambda: compose.ask(version))
    times.compose.append(end)
    times.compose_answer.append(answer)


def _ask(kit: Kit, version: str) -> bool:
    """Whether the service, asked by its own name over mTLS, answers with this version."""
    try:
        tls = connect("web", ("127.0.0.1", kit.ports["edge"]), kit.secrets_dir, protocol="http/1.1")
        return version.encode() in get(tls, "web", "/")[1]
    except (Unreachable, OSError):
        return False


class Client:
    """Asks the service at the front door, one request after the other with a pause, and notes how long each took."""

    def __init__(self, kit: Kit, seconds: list[float]) -> None:
        self._address = ("127.0.0.1", kit.ports["front_door"])
        self._seconds = seconds
        self._failures: list[Exception] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert not self._failures, self._failures

    def _run(self) -> None:
        try:
            self._ask()
        except (AssertionError, OSError, http.client.HTTPException) as err:
            self._failures.append(err)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        while not self._over.wait(PAUSE):
            start = time.monotonic()
            connection.request("GET", "/", headers={"Host": f"web.localhost:{self._address[1]}"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            self._seconds.append(time.monotonic() - start)


class Compose:
    """The app in Compose, with a Dockerfile and a health check written by hand, and no mesh."""

    def __init__(self, folder: Path) -> None:
        tools.get("docker-compose")
        self.program = record.tool("docker-compose") or "docker-compose"
        self.folder = folder
        self.port = free_ports(1)[0]
        app.source(folder)
        app.dockerfile(
            folder, base=images.base(), builder=images.build("builder"), installer="uv", cache="karst-bench-kept"
        )
        app.compose(folder, project=f"bench{secrets.token_hex(3)}", port=self.port, ca=base_image.build_ca_file() or "")

    def __enter__(self) -> Compose:
        return self

    def __exit__(self, *_: object) -> None:
        self._run("down", "--rmi", "local", "--timeout", "1")

    def up(self) -> None:
        self._run("up", "--build", "--wait", "--quiet-pull")

    def ask(self, version: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2) as answer:
                return version.encode() in answer.read()
        except OSError:
            return False

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([self.program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _timed(work: Callable[[], object], there: Callable[[], bool]) -> tuple[float, float]:
    """Seconds until ``work`` has ended, and until ``there`` was true for the first time."""
    start = time.monotonic()
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if there():
                seen.append(time.monotonic() - start)
                return
            time.sleep(POLL_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
        end = time.monotonic() - start
        watcher.join(30)
    finally:
        over.set()
        watcher.join()
    assert seen, "the new version does not answer"
    return end, seen[0]


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start
