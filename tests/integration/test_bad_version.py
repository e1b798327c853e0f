"""A bad new version: the old one goes on serving, the error says why, and the way back is one apply."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import HELLO, JOB
from tests.support.kit import IAC, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("stack")]

CRASH = 'def main():\n    raise RuntimeError("the database is gone")\n\n\nif __name__ == "__main__":\n    main()\n'


def _ask(kit: Kit) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{kit.ports['front_door']}/", headers={"Host": "web.localhost"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        return body


@contextlib.contextmanager
def _following(kit: Kit, service: str) -> Iterator[set[str]]:
    """The generations whose lines `iac logs --follow` has shown so far."""
    command = [str(IAC), "logs", "--follow", "--json", "--service", service]
    process = subprocess.Popen(command, env={**os.environ, **kit.env}, stdout=subprocess.PIPE, text=True)
    seen: set[str] = set()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            seen.add(json.loads(line)["generation"])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        process.terminate()
        process.wait(10)
        reader.join()


def _until(true: Callable[[], bool], what: str, timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_crashing_version_leaves_the_old_one_serving_and_others_deployed(tmp_path: Path) -> None:
    """Exit 5 with the app's last words; the other service of the same deploy is replaced; a revert converges."""
    kit = Kit(tmp_path / "kit", env={"KARST_GATE_TIMEOUT": "8"})
    for name, text in (("web", HELLO), ("other", JOB)):
        (kit.home / name).mkdir()
        (kit.home / name / "main.py").write_text(text)
    kit.write_list([{"slug": "dir:web", "expose": True}, "dir:other"])
    try:
        kit.deploy()
        assert _ask(kit) == b"version one"
        before = kit.pods()

        (kit.home / "web" / "main.py").write_text(CRASH)
        (kit.home / "other" / "main.py").write_text(JOB.replace("forty-two", "forty-three"))
        done = kit.iac("deploy", "--file", str(kit.list_file), check=5)
        assert "web is not healthy" in done.stderr
        assert "the database is gone" in done.stderr
        assert _ask(kit) == b"version one"
        web = kit.health()["web"]
        assert web["status"] == "SERVING"
        assert "the database is gone" in web["reason"]
        assert "forty-three" in kit.iac("logs", "--service", "other").stdout

        (kit.home / "web" / "main.py").write_text(HELLO.replace("version one", "version three"))
        with _following(kit, "web") as seen:
            kit.deploy()
            newest = next(row["Config"]["Labels"]["karst.generation"] for row in kit.containers("web"))
            _until(lambda: newest in seen, "the new generation's lines")
        assert len(seen) >= 3, "before it those of the first one, and of the one that crashed"
        assert _ask(kit) == b"version three"
        health = kit.health()
        assert {row["status"] for row in health.values()} == {"SERVING", "COMPLETED"}
        assert len(kit.containers()) == 2 * 3 + 1, "nothing is left of the versions before"
        assert kit.pods() != before

        # Its container is gone, and why it crashed can still be read.
        told = kit.iac("logs", "--service", "web", "--previous").stdout
        assert "the database is gone" in told
        assert "karst: end of generation" in told
        assert "exit code 1" in told
        assert "the database is gone" in kit.iac("logs", "--service", "web", "--grep", "database").stdout
        assert "the database is gone" not in kit.iac("logs", "--service", "web", "--since", "0s").stdout
    finally:
        kit.iac("destroy", "--yes", check=None)


LATE = HELLO.replace("def main():", "def main():\n    import time\n\n    time.sleep(14)\n", 1)


def test_a_version_that_was_refused_for_being_late_is_let_through_by_the_next_deploy(tmp_path: Path) -> None:
    """The gate took its pod out of rotation, and the next apply, which makes no new one, puts it back."""
    kit = Kit(tmp_path / "kit", env={"KARST_GATE_TIMEOUT": "5"})
    (kit.home / "web").mkdir()
    (kit.home / "web" / "main.py").write_text(LATE)
    kit.write_list([{"slug": "dir:web", "expose": True}])
    try:
        kit.deploy(check=5)
        pods = kit.pods()
        kit.env["KARST_GATE_TIMEOUT"] = "40"
        kit.deploy()
        assert kit.pods() == pods
        assert _ask(kit) == b"version one"
    finally:
        kit.iac("destroy", "--yes", check=None)
