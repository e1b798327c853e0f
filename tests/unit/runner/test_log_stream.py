"""StreamLogs of a real runner: what a reader gets, and what a reader (or a stalled stdout) can never do to the app."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from karst.pb import controlplane_pb2 as pb

COUNT = """
    import sys
    for number in range(1, 101): print("line", number)
"""
#: Writes as fast as it can and says in a file how long it took.
FLOOD = """
    import os, sys, time
    count = int(os.environ["COUNT"])
    words = b"%08d some words that make an ordinary line of a log, such as a server writes\\n"
    block = b"".join(words % i for i in range(100))
    began = time.monotonic()
    for _ in range(count // 100):
        view = memoryview(block)
        while view: view = view[os.write(1, view):]
    open("took", "w").write(str(time.monotonic() - began))
    print("the end", flush=True)
    time.sleep(99)
"""


def rss_mib(pid: int) -> float:
    """The highest resident size so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


def test_a_stream_without_follow_ends_with_the_last_line(start: Any) -> None:
    runner = start(COUNT)
    runner.until("COMPLETED")
    lines = [line for line in runner.lines() if line.stream == pb.LogLine.STDOUT]
    assert [line.msg for line in lines] == [f"line {n}" for n in range(1, 101)]
    assert lines[0].service == "web"
    assert abs(lines[0].ts.ToNanoseconds() - time.time_ns()) < 60e9


def test_tail_since_and_after_choose_where_to_begin(start: Any) -> None:
    runner = start(COUNT)
    runner.until("COMPLETED")
    everything = runner.lines()
    last = everything[-1].seq
    assert [line.seq for line in everything] == list(range(1, last + 1))
    assert [line.seq for line in runner.lines(tail=2)] == [last - 1, last]
    assert [line.seq for line in runner.lines(after_seq=50)] == list(range(51, last + 1))
    assert runner.lines(tail=0) == []
    request = pb.LogRequest()
    request.since.FromNanoseconds(time.time_ns() + 10**9)
    assert list(runner.stub.StreamLogs(request)) == []


def test_follow_brings_new_lines_until_the_container_stops(start: Any) -> None:
    runner = start("import time; print('first', flush=True); time.sleep(99)")
    stream = runner.stub.StreamLogs(pb.LogRequest(follow=True), timeout=20, wait_for_ready=True)
    assert next(line.msg for line in stream if line.stream == 1) == "first"
    runner.process.terminate()
    rest = [line.msg for line in stream]
    assert rest[-1] == "karst: stopped with exit code 143"


def test_batches_hold_the_same_lines(start: Any) -> None:
    runner = start(COUNT)
    runner.until("COMPLETED")
    batches = list(runner.stub.StreamLogBatches(pb.LogRequest()))
    assert [line for batch in batches for line in batch.lines] == runner.lines()
    assert len(batches) == 1


def test_what_is_not_utf8_is_shown_as_such(start: Any) -> None:
    runner = start(["printf", r"\xff\xfe ok\r\n"])
    runner.until("COMPLETED")
    assert runner.texts() == ["\ufffd\ufffd ok"]


def test_another_services_log_is_not_here(start: Any) -> None:
    runner = start("print()")
    with pytest.raises(grpc.RpcError) as failure:
        runner.lines(service="other")
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert failure.value.details() == "this is `web`, not `other`"
    assert runner.lines(service="web")


def test_streams_that_nobody_reads_leave_room_for_health_checks(start: Any) -> None:
    runner = start(FLOOD, COUNT="100000")
    request = pb.LogRequest(follow=True)
    runner.health()
    stalled = [runner.stub.StreamLogBatches(request) for _ in range(4)]
    for stream in stalled:
        next(stream)
    with pytest.raises(grpc.RpcError) as failure:
        next(runner.stub.StreamLogs(request))
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert runner.health().service == "web"
    for stream in stalled:
        stream.cancel()
    deadline = time.monotonic() + 5
    while True:  # a cancelled stream gives its place back
        try:
            assert next(runner.stub.StreamLogs(request)).seq
            break
        except grpc.RpcError:
            assert time.monotonic() < deadline


def test_sigterm_is_obeyed_at_once_while_nobody_reads_stdout(start: Any) -> None:
    """The container's log pipe is full and the app writes on: neither may hold the runner up."""
    runner = start(FLOOD, {"mirror_bytes": 1 << 20}, COUNT="100000000")
    time.sleep(1.0)
    began = time.monotonic()
    assert runner.stop() == 143
    assert time.monotonic() - began < 2


def flood(runner: Any, folder: Path, count: int) -> None:
    """Run FLOOD to its end with a stalled stdout and a stalled gRPC reader; check every promise about it."""
    stalled = runner.stub.StreamLogBatches(pb.LogRequest(follow=True), wait_for_ready=True)
    batches = [next(stalled)]
    began = time.monotonic()
    while not (folder / "took").exists():
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    taken = float((folder / "took").read_text())
    assert taken < count / 100_000, f"the app needed {taken:.1f} s for {count} lines"
    for batch in stalled:
        batches.append(batch)
        if batch.lines[-1].msg == "the end" or any(line.msg == "the end" for line in batch.lines):
            break
    lines = [line for batch in batches for line in batch.lines]
    delivered = sum(line.stream == pb.LogLine.STDOUT for line in lines)
    dropped = sum(batch.dropped for batch in batches)
    own = lines[-1].seq - delivered - dropped
    assert 0 <= own <= 5, f"{delivered} delivered + {dropped} dropped of {lines[-1].seq}"
    assert lines[-1].seq >= count + 1
    assert rss_mib(runner.process.pid) < 64
    began = time.monotonic()
    assert runner.stop() == 143
    assert time.monotonic() - began < 2


def test_a_flood_never_slows_the_app_and_every_line_is_delivered_or_counted(start: Any, tmp_path: Path) -> None:
    flood(start(FLOOD, {"mirror_bytes": 1 << 20}, COUNT="100000"), tmp_path / "0", 100_000)


@pytest.mark.slow
def test_a_flood_of_a_million_lines_stays_below_64_mib(start: Any, tmp_path: Path) -> None:
    flood(start(FLOOD, {"mirror_bytes": 1 << 20}, COUNT="1000000"), tmp_path / "0", 1_000_000)


def test_a_flood_reaches_stdout_whole_or_counted(start: Any) -> None:
    runner = start(FLOOD, {"mirror_bytes": 1 << 20}, COUNT="200000")
    text = bytearray()

    def read() -> None:
        while data := os.read(runner.stdout, 1 << 20):
            text.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 20
    while b"the end" not in text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runner.stop()
    reader.join(5)
    lines = bytes(text).split(b"\n")
    dropped = sum(int(line.split()[1]) for line in lines if line.endswith(b"nobody read them in time"))
    written = sum(line[:8].isdigit() for line in lines)
    assert 0 <= written + dropped - 200_000 <= 5, (written, dropped)
