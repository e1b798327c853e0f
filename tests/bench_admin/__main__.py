"""Measure, print, and write the result into docs/admin.md. A minute and a half; loopback only."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles

from tests.bench_admin import load
from tests.bench_admin.server import Server, running
from tests.support import reports

ROUNDS, SECONDS, PROBES = 4, 6.0, 50
OPENED = 1000


def main() -> int:
    machine = reports.machine()
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder, running(Path(folder)) as server:
        idle, busy, counts = _answers(server)
        sizes = churn(server, OPENED)
    text = f"{_table(idle, busy, counts, sizes)}\n\nMachine: {machine}. {datetime.datetime.now(datetime.UTC):%Y-%m-%d}."
    print(text)
    reports.write("docs/admin.md", "bench-admin", text)
    return 0


def _answers(server: Server) -> tuple[list[float], list[float], dict[str, int]]:
    """Milliseconds of each GET /health without and with the load, in turns; and what the load read."""
    idle: list[float] = []
    busy: list[float] = []
    counts = {"events": 0, "reads": 0, "failed": 0}
    _probe(server, 1.0)
    for _ in range(ROUNDS):
        idle += _probe(server, SECONDS)
        command = [sys.executable, "-m", "tests.bench_admin.load", str(server.port), server.run]
        with subprocess.Popen(
            [*command, json.dumps(server.tokens), str(SECONDS + 1)], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            busy += _probe(server, SECONDS)
            for name, number in json.loads(other.stdout.read()).items():
                counts[name] += number
    return idle, busy, counts


def _probe(server: Server, seconds: float) -> list[float]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    found, at = [], time.monotonic()
    end = at + seconds
    with contextlib.closing(connection):
        while at < end:
            time.sleep(max(0.0, at - time.monotonic()))
            connection.request("GET", "/health")
            response = connection.getresponse()
            response.read()
            assert response.status == 200
            # From when it was due: an answer that is late also delays the next one, which must not look quick.
            found.append(1000 * (time.monotonic() - at))
            at += 1 / PROBES
    return found


def churn(server: Server, opened: int) -> list[tuple[int, dict[str, int]]]:
    """Open and leave so many streams, one after the other; the process's size now and then, when none is open."""
    sizes = []
    for number in range(opened + 1):
        if number % (opened // 5) == 0:
            _settle(server)
            sizes.append((number, server.size()))
        while not _open_and_leave(server, number):
            time.sleep(0.05)  # those who left are noticed within a tenth of a second
    return sizes


def _open_and_leave(server: Server, number: int) -> bool:
    """False when too many are open still."""
    connection, response = server.stream(number)
    with contextlib.closing(connection):
        first = response.readline()
        response.close()
    assert response.status in (200, 429), first
    return response.status == 200


def _settle(server: Server) -> None:
    """Until as few connections are open as there can be, so that what is compared is the same state."""
    deadline, least = time.monotonic() + 10, 10**9
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = server.size()["files"]
        if now >= least:
            return
        least = now


def _table(
    idle: list[float], busy: list[float], counts: dict[str, int], sizes: list[tuple[int, dict[str, int]]]
) -> str:
    rows = [
        [name, len(found), f"{cuts[49]:.1f} ms", f"{cuts[98]:.1f} ms"]
        for name, found, cuts in (
            ("nothing else", idle, quantiles(idle, n=100)),
            (f"{load.STREAMS} open streams and {load.READS} reads a second", busy, quantiles(busy, n=100)),
        )
    ]
    ratio = quantiles(busy, n=100)[98] / quantiles(idle, n=100)[98]
    memory = [
        [f"{number:,}", f"{size['VmRSS'] / 1024:.1f} MiB", size["Threads"], size["files"]] for number, size in sizes
    ]
    return f"""{reports.table(["`GET /health` beside", "asked", "p50", "p99"], rows)}

The p99 under load is {ratio:.1f} × the idle one (aim: 3). In turns of {SECONDS:g} s, {ROUNDS} each, {PROBES} a
second. The load read {counts["events"]:,} events and {counts["reads"]:,} answers; {counts["failed"]} failed.

{reports.table(["streams opened and left", "resident memory", "threads", "open files"], memory)}"""


if __name__ == "__main__":
    sys.exit(main())
