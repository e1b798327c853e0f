"""The load generator's accounting: it has to see failures, when there are some, and when they were."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.chaos import traffic
from tests.chaos.load import SLICE
from tests.chaos.stage import HERE


class Server(ThreadingHTTPServer):
    request_queue_size = 512  # else the kernel refuses, and the test would count that
    daemon_threads = True


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[int]:
    """An HTTP server on a port of its own; ``answer`` is given each request with its number (from the path)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer(self, int(self.path.strip("/").partition("?")[0]))

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    http = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield http.server_address[1]
    finally:
        http.shutdown()
        http.server_close()


def say(request: Any, text: str, status: int = 200) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    request.wfile.write(text.encode())


def right(request: Any, number: int) -> None:
    say(request, f"v1 {number}\n{request.body or f'done {number}'}\n")


def send(*lanes: dict[str, Any]) -> list[dict[str, Any]]:
    """The reports of ``lanes``."""
    default = {"name": "path|group|kind", "kind": "http", "host": "127.0.0.1", "authority": "web", "rate": 400}
    wanted = [{**default, "limit": 100, **lane} for lane in lanes]
    with subprocess.Popen(
        [sys.executable, str(HERE / "load.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"seconds": 40, "lanes": wanted}) + "\n")
        process.stdin.flush()
        reports: list[dict[str, Any]] = json.loads(process.stdout.readlines()[-1])["lanes"]
    return reports


def test_what_is_answered_right_is_no_failure() -> None:
    """Over new connections there are as many clients as requests, over kept ones fewer."""
    clients: dict[str, set[Any]] = {"new": set(), "kept": set()}

    def answer(request: Any, number: int) -> None:
        clients[request.headers["Host"]].add(request.client_address)
        right(request, number)

    with server(answer) as port:
        reports = send(
            *(
                {"port": port, "method": method, "fresh": kind == "new", "authority": kind}
                for method in ("GET", "POST")
                for kind in clients
            )
        )
    for report in reports:
        assert (report["sent"], report["ok"], report["failed"]) == (100, 100, 0)
        assert report["versions"]["v1"][2] == 100
    assert len(clients["new"]) == 200
    assert len(clients["kept"]) < 200


def hangs_up(request: Any, number: int) -> None:
    request.close_connection = True


def breaks_off(request: Any, number: int) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(f"v1 {number}\n".encode())
    request.close_connection = True


WRONG: dict[int, tuple[Callable[[Any, int], None], str]] = {
    10: (lambda request, _: say(request, "no healthy upstream", 503), "status 503: no healthy upstream"),
    30: (hangs_up, "closed after 0 bytes"),
    50: (lambda request, _: say(request, "v1 51\ndone 51\n"), "another request's answer"),
    70: (breaks_off, "closed after 6 bytes"),
    90: (lambda request, number: say(request, f"v1 {number}\n"), "ended early"),
}


def test_each_failure_among_a_hundred_is_seen_with_its_time_and_error() -> None:
    def answer(request: Any, number: int) -> None:
        WRONG.get(number, (right, ""))[0](request, number)

    with server(answer) as port:
        [report] = send({"port": port, "fresh": True})
    assert (report["sent"], report["ok"], report["failed"]) == (100, 95, 5)
    for (number, (_, expected)), (second, _, said) in zip(WRONG.items(), report["failures"], strict=True):
        assert second == pytest.approx(number / 400, abs=0.001)
        assert expected in said
        assert report["errors"][said] == 1


def test_no_answer_is_a_timeout_and_nobody_there_an_error() -> None:
    """Open loop, too: thirty requests are under way at once, though the first one is not answered before the last."""
    together, never = threading.Barrier(30), threading.Event()

    def answer(request: Any, number: int) -> None:
        if request.headers["Host"] == "never":
            never.wait()
        together.wait()
        right(request, number)

    with server(right) as closed:
        pass
    with server(answer) as port:
        slow, hung, gone = send(
            {"port": port, "limit": 30, "timeout": 30},
            {"port": port, "limit": 1, "timeout": 0.2, "authority": "never"},
            {"port": closed, "limit": 5},
        )
        never.set()
    assert (slow["ok"], slow["failed"]) == (30, 0)
    assert hung["errors"] == {"timeout": 1}
    assert (gone["sent"], gone["ok"], gone["failed"]) == (5, 0, 5)


def test_down_is_the_time_in_which_nothing_succeeded() -> None:
    """A tenth of a second in which one of several requests succeeded is none of it."""
    assert traffic.down({0: [5, 0], 1: [0, 4], 2: [1, 4], 3: [0, 1], 4: [9, 0]}) == pytest.approx(2 * SLICE)
