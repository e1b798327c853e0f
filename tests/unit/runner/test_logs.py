"""Ring, mirror and pump by themselves: nothing is lost uncounted, nothing grows, nobody waits."""

from __future__ import annotations

import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from karst_runner.logs import MAX_LINE, RUNNER, STDERR, STDOUT, Mirror, Pump, Ring


def filled(count: int, limit: int = 1 << 20) -> Ring:
    ring = Ring(limit)
    for number in range(1, count + 1):
        ring.append(STDOUT, b"line %d\n" % number)
    return ring


def test_lines_are_numbered_from_one_without_gaps() -> None:
    ring = Ring(1 << 20)
    ring.append(STDOUT, b"a\nb\n")
    ring.append(STDERR, b"c\n")
    lines, dropped = ring.after(0, 10)
    assert [(line.seq, line.stream, line.text) for line in lines] == [(1, 1, b"a"), (2, 1, b"b"), (3, 2, b"c")]
    assert dropped == 0


def test_a_reader_can_begin_inside_a_block_and_take_part_of_one() -> None:
    ring = Ring(1 << 20)
    ring.append(STDOUT, b"1\n2\n3\n4\n")
    assert [line.text for line in ring.after(1, 2)[0]] == [b"2", b"3"]
    assert ring.after(4, 10) == ([], 0)


def test_an_empty_line_is_a_line() -> None:
    ring = Ring(1 << 20)
    ring.append(STDOUT, b"\n\n")
    assert [line.text for line in ring.after(0, 10)[0]] == [b"", b""]


@settings(deadline=None, max_examples=60)
@given(
    blocks=st.lists(st.integers(1, 50), min_size=1, max_size=200),
    limit=st.integers(1, 20_000),
    step=st.integers(1, 300),
)
def test_every_line_is_delivered_or_counted_as_dropped(blocks: list[int], limit: int, step: int) -> None:
    ring = Ring(limit)
    total = 0
    for count in blocks:
        ring.append(STDOUT, b"".join(b"%d\n" % (total + i + 1) for i in range(count)))
        total += count
    seq = delivered = lost = 0
    while True:
        lines, dropped = ring.after(seq, step)
        if not lines:
            break
        assert [int(line.text) for line in lines] == [line.seq for line in lines]
        assert [line.seq for line in lines] == list(range(seq + dropped + 1, seq + dropped + len(lines) + 1))
        delivered, lost, seq = delivered + len(lines), lost + dropped, lines[-1].seq
    assert delivered + lost == total == ring.last


def test_tail_and_since_find_their_place() -> None:
    ring = filled(10)
    assert [line.seq for line in ring.after(ring.tail(3), 99)[0]] == [8, 9, 10]
    assert ring.tail(99) == 0
    now = time.time_ns()
    assert ring.since(now) == 10
    ring.append(STDOUT, b"new\n")
    assert ring.since(now) == 10
    assert ring.since(0) == 0


def test_the_ring_keeps_its_size_for_ever() -> None:
    ring = Ring(64 * 1024)
    for _ in range(20_000):
        ring.append(STDOUT, b"x" * 99 + b"\n")
    assert len(ring._blocks) < 3000
    assert len(ring.after(0, 10**6)[0]) * 356 <= 64 * 1024


def test_a_mirror_that_is_not_read_drops_the_oldest_and_says_so() -> None:
    reader, writer = os.pipe()
    mirror = Mirror(writer, limit=100_000)
    mirror.start()
    for number in range(40):
        mirror.put((b"%06d" % number + b"x" * 93 + b"\n") * 100)  # 10 kB each; the pipe holds 65 kB
    assert not mirror.flush(0.05)
    text = b""
    while b"000039" not in text:
        text += os.read(reader, 1 << 20)
    while not mirror.flush(0.01):
        text += os.read(reader, 1 << 20)
    said = [line for line in text.split(b"\n") if line.startswith(b"karst:")]
    kept = sum(line[:6].isdigit() for line in text.split(b"\n"))
    assert len(said) == 1
    assert int(said[0].split()[1]) + kept == 4000, "every line is written or counted"


def test_a_mirror_whose_reader_is_gone_goes_on() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    mirror = Mirror(writer, limit=1000)
    mirror.start()
    for _ in range(100):
        mirror.put(b"x" * 99 + b"\n")
    assert mirror.flush(2)


@pytest.fixture
def pump() -> Pump:
    ring = Ring(1 << 22)
    pump = Pump(ring, Mirror(os.open(os.devnull, os.O_WRONLY), 1 << 20))
    pump.start()
    return pump


def texts(pump: Pump) -> list[bytes]:
    pump.settle(2)
    return [line.text for line in pump._ring.after(0, 10**6)[0]]


def test_a_line_in_two_writes_is_one_line(pump: Pump) -> None:
    os.write(pump.stdout, b"hel")
    os.write(pump.stderr, b"err\n")
    os.write(pump.stdout, b"lo\nunfinished")
    assert sorted(texts(pump)) == [b"err", b"hello", b"unfinished"]


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_that_is_too_long_is_cut_up_and_nothing_of_it_is_lost(pump: Pump, ended: bool) -> None:
    line = os.urandom(150_000).replace(b"\n", b"\0")
    threading.Thread(target=os.write, args=(pump.stdout, line + (b"\nnext\n" if ended else b""))).start()
    time.sleep(0.05)
    found = texts(pump)
    assert max(map(len, found)) == MAX_LINE
    assert b"".join(found) == line + (b"next" if ended else b"")


def test_the_runners_own_words_are_one_line_each(pump: Pump) -> None:
    pump.say("two\nlines")
    lines, _ = pump._ring.after(0, 9)
    assert [(line.stream, line.text) for line in lines] == [(RUNNER, b"karst: two lines")]
