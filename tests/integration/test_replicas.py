"""Several pods of one service on a real stack: who answers, and what a killed one, a change and a bad version cost."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("stack")]

# Answers with the name of its pod and its version.
APP = """
import os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (socket.gethostname() + " VERSION").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
if __name__ == "__main__":
    print("up", flush=True)
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Web).serve_forever()
"""


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("replicas"))
    (kit.home / "web").mkdir()
    write(kit, "one", 3)
    try:
        kit.deploy()
        yield kit
    finally:
        kit.destroy()


def write(kit: Kit, version: str, replicas: int, *, bad: bool = False) -> None:
    source = "raise SystemExit(3)\n" if bad else APP.replace("VERSION", version)
    (kit.home / "web" / "main.py").write_text(source)
    kit.write_list([{"slug": "dir:web", "expose": True, "replicas": replicas}])


def ask(kit: Kit) -> tuple[str, str]:
    """(pod, version) of one answer on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", kit.ports["front_door"], timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": f"web.localhost:{kit.ports['front_door']}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (answer.status, body)
        pod, version = body.split()
        return pod, version
    finally:
        connection.close()


@contextmanager
def load(kit: Kit) -> Iterator[Counter[str]]:
    """Some fifty requests a second until the block ends: how often each version answered, and `failed`."""
    seen: Counter[str] = Counter()
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.02):
            try:
                seen[ask(kit)[1]] += 1
            except (OSError, AssertionError, http.client.HTTPException):
                seen["failed"] += 1

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def pods(kit: Kit) -> dict[str, str]:
    """Id of each pod's container → its state."""
    return {
        row["Id"]: row["State"]["Status"]
        for row in kit.containers("web")
        if row["Config"]["Labels"]["karst.role"] == "pod"
    }


def test_each_of_three_pods_answers_and_their_figures_are_one(kit: Kit) -> None:
    answers = Counter(ask(kit)[0] for _ in range(60))
    assert {pod[:12] for pod in pods(kit)} == set(answers)
    row = kit.health()["web"]
    assert (row["pods"], row["healthy_pods"], row["status"]) == (3, 3, "SERVING")
    [figures] = json.loads(kit.iac("stats", "--json", "web").stdout)
    assert figures["inbound"]["requests"] >= 60, "of all of them together"
    targets = json.loads((kit.home / "state" / f"{kit.stack}.prometheus.json").read_text())
    assert len({one["labels"]["__metrics_path__"] for one in targets if one["labels"]["service"] == "web"}) == 3
    logs = kit.iac("logs", "-s", "web").stdout.splitlines()
    assert sum(line.endswith("| up") for line in logs) == 3


def test_a_killed_pod_costs_nothing_is_told_and_is_healed(kit: Kit) -> None:
    victim = next(iter(pods(kit)))
    with load(kit) as seen:
        kit.docker("kill", victim)
        row = kit.health(check=5)["web"]
        assert (row["status"], row["healthy_pods"], row["pods"]) == ("SERVING", 2, 3)
        kit.iac("heal")
        assert kit.health()["web"]["healthy_pods"] == 3
    assert seen["failed"] == 0, seen
    assert set(pods(kit).values()) == {"running"}


def test_fewer_and_more_touch_no_pod_that_stays(kit: Kit) -> None:
    before = set(pods(kit))
    with load(kit) as seen:
        write(kit, "one", 2)
        plan = json.loads(kit.iac("plan", "--file", str(kit.list_file), "--json").stdout)
        reasons = [reason["text"] for reason in plan["services"]["web"]["reasons"]]
        assert (plan["services"]["web"]["action"], reasons) == ("update", ["replicas 3 → 2"])
        kit.deploy()
        fewer = set(pods(kit))
        write(kit, "one", 4)
        kit.deploy()
    assert len(fewer) == 2
    assert fewer < before
    assert fewer < set(pods(kit))
    assert len(pods(kit)) == 4
    assert seen["failed"] == 0, seen


def test_a_bad_version_leaves_all_old_pods_and_a_good_one_replaces_them_without_a_failure(kit: Kit) -> None:
    write(kit, "one", 2)
    kit.deploy()
    before = set(pods(kit))
    with load(kit) as seen:
        write(kit, "bad", 2, bad=True)
        kit.deploy(check=5)
        assert set(seen) == {"one"}, seen
        write(kit, "two", 2)
        kit.deploy()
        for _ in range(20):
            assert ask(kit)[1] == "two"
    assert set(seen) == {"one", "two"}, seen
    assert not before & set(pods(kit))
    assert len(pods(kit)) == 2
    again = kit.deploy()
    assert next(event for event in again if event["type"] == "plan")["unchanged"]
