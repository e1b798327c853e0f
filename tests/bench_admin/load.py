"""Open streams, and reads at a rate, in a process of its own so that it does not slow the one that measures."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from http.client import HTTPConnection

from tests.bench_admin.server import Server

STREAMS, READS = 20, 50
WARM_UP = 3.0  # until each stream has been sent the events that there were before it
_READERS = 5


def main() -> None:
    """argv: port, run id, tokens (JSON), seconds. Prints `ready`, then what was read: events, reads, failed."""
    port, run, tokens, seconds = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4])
    server = Server(port, 0, tokens, run)
    end = time.monotonic() + WARM_UP + seconds
    counts = {"events": 0, "reads": 0, "failed": 0}
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] += 1

    def stream(number: int) -> None:
        connection, response = server.stream(number)
        with contextlib.closing(connection):
            while time.monotonic() < end:
                count("events" if response.readline() else "failed")

    def read(number: int) -> None:
        paths = ["/v1/deploys", f"/v1/deploys/{run}", "/v1/me", "/v1/plan", "/v1/sign-in"]
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        token = tokens[number % len(tokens)]
        at = time.monotonic() + number / READS
        with contextlib.closing(connection):
            while at < end:
                time.sleep(max(0.0, at - time.monotonic()))
                connection.request("GET", paths[number], headers={"Authorization": f"Bearer {token}"})
                response = connection.getresponse()
                response.read()
                count("reads" if response.status == 200 else "failed")
                at += _READERS / READS  # by the clock: a slow answer does not lower the rate that was asked for

    workers = [threading.Thread(target=stream, args=(n,)) for n in range(STREAMS)]
    workers += [threading.Thread(target=read, args=(n,)) for n in range(_READERS)]
    for worker in workers:
        worker.start()
    time.sleep(WARM_UP)
    print("ready", flush=True)
    for worker in workers:
        worker.join()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
