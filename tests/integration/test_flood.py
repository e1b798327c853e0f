"""A flood of 10^6 lines in a real container whose log driver has stopped reading, beside a gRPC reader that stalls.

Docker's own file driver always reads. The syslog driver writes to a socket, and waits when nobody takes the other end's
bytes; then Docker reads the container's stdout no more, and the pipe fills up.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.test_runner_image import Container
from tests.support import images
from tests.support.kit import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180), pytest.mark.slow]

COUNT = 1_000_000
#: Writes as fast as it can and says in a file how long it took.
FLOOD = """
import os, time
count = int(os.environ["COUNT"])
words = b"%08d some words that make an ordinary line of a log, such as a server writes\\n"
block = b"".join(words % i for i in range(100))
began = time.monotonic()
for _ in range(count // 100):
    view = memoryview(block)
    while view: view = view[os.write(1, view):]
open("/tmp/took", "w").write(str(time.monotonic() - began))
print("the end", flush=True)
time.sleep(99)
"""
#: Takes one batch, then nothing until the app is done; then the rest.
STALLED = """
import json, os, sys, time; sys.path.insert(0, "/opt/karst/lib")
import grpc
from karst_runner.pb import controlplane_pb2 as pb, controlplane_pb2_grpc
stub = controlplane_pb2_grpc.ControlPlaneStub(grpc.insecure_channel("127.0.0.1:50051"))
stream = stub.StreamLogBatches(pb.LogRequest(follow=True), wait_for_ready=True, timeout=120)
batches = [next(stream)]
while not os.path.exists("/tmp/took"): time.sleep(0.05)
for batch in stream:
    batches.append(batch)
    if any(line.msg == "the end" for line in batch.lines): break
lines = [line for batch in batches for line in batch.lines]
print(json.dumps({"app": sum(line.stream == pb.LogLine.STDOUT for line in lines), "seq": lines[-1].seq,
    "all": len(lines), "dropped": sum(batch.dropped for batch in batches), "took": float(open("/tmp/took").read())}))
"""


@pytest.fixture
def flooded() -> Iterator[Callable[[int], Container]]:
    """Begins a container that writes so many lines to a log driver whose other end reads no byte."""
    made: list[Container] = []
    with socket.create_server(("127.0.0.1", 0), backlog=8) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        driver = ["--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{deaf.getsockname()[1]}"]

        def begin(count: int) -> Container:
            made.append(Container(images.build("runner"), FLOOD, *driver, "--env", f"COUNT={count}"))
            return made[-1]

        yield begin
    # The engine waits for its log driver before it removes a container: first the other end goes.
    for container in made:
        docker("rm", "--force", container.name)


def ended(pid: int, seconds: float) -> bool:
    """Whether a process of this machine is gone within the time."""
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_nothing_stalls_the_app_and_every_line_is_delivered_or_counted(flooded: Callable[[int], Container]) -> None:
    """And the runner stays below 64 MiB, and obeys SIGTERM at once, all in one container."""
    container = flooded(COUNT)
    told = json.loads(container.exec("/opt/karst/venv/bin/python", "-I", "-c", STALLED))
    assert told["seq"] >= COUNT + 1
    assert told["all"] + told["dropped"] == told["seq"], told
    assert told["took"] < 60, "the pipe of an app that waits for a reader would never be empty"
    status = container.exec("cat", "/proc/1/status")
    highest = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert highest / 1024 < 64
    pid = int(docker("inspect", "--format", "{{.State.Pid}}", container.name))
    docker("kill", "--signal", "TERM", container.name)
    assert ended(pid, 3)


def test_sigterm_is_obeyed_at_once_in_the_middle_of_a_flood(flooded: Callable[[int], Container]) -> None:
    container = flooded(1_000_000_000)
    pid = int(docker("inspect", "--format", "{{.State.Pid}}", container.name))
    time.sleep(3)
    assert Path(f"/proc/{pid}").exists()
    docker("kill", "--signal", "TERM", container.name)
    assert ended(pid, 3)
