"""The app's output: pipes → bounded ring (for StreamLogs) and → bounded queue → stdout (for `docker logs`).

Rule of the whole file: whoever writes is never held up by whoever reads. What a reader is too slow for is dropped,
oldest first, and counted. Blocks of lines are kept as they were read and split only for a reader, which keeps a flood
cheap: 10^6 lines pass in a second or two, and memory is bounded by the two byte limits.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import os
import select
import threading
import time
from collections import deque
from typing import NamedTuple

STDOUT, STDERR, RUNNER = 1, 2, 3  # LogLine.Stream
MAX_LINE = 16 * 1024  # where Docker's own log splits a line, too
READ_SIZE = 64 * 1024
PIPE_SIZE = 1 << 20
BLOCK_OVERHEAD = 256  # what Python needs for a block besides its bytes


class Line(NamedTuple):
    seq: int
    time_ns: int
    stream: int
    text: bytes


class _Block(NamedTuple):
    first: int
    lines_in: int
    time_ns: int
    stream: int
    data: bytes  # whole lines, each ended by \n

    def lines(self) -> list[Line]:
        texts = self.data[:-1].split(b"\n")
        return [Line(self.first + i, self.time_ns, self.stream, text) for i, text in enumerate(texts)]


_GONE = _Block(0, 0, 0, 0, b"")


class Ring:
    """The last lines, up to a number of bytes. Sequence numbers start at 1 and have no gaps."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._blocks: list[_Block] = []
        self._start = 0  # blocks before this index are gone; the list is cut now and then, not at every line
        self._last = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def last(self) -> int:
        """The sequence number of the newest line."""
        return self._last

    @property
    def closed(self) -> bool:
        return self._closed

    def append(self, stream: int, data: bytes) -> None:
        """Add whole lines, each ended by a newline."""
        count = data.count(b"\n")
        with self._changed:
            self._blocks.append(_Block(self._last + 1, count, time.time_ns(), stream, data))
            self._last += count
            self._size += len(data) + BLOCK_OVERHEAD
            while self._size > self._limit and self._start < len(self._blocks) - 1:
                self._size -= len(self._blocks[self._start].data) + BLOCK_OVERHEAD
                self._blocks[self._start] = _GONE
                self._start += 1
            if self._start > 1024 and self._start > len(self._blocks) // 2:
                del self._blocks[: self._start]
                self._start = 0
            self._changed.notify_all()

    def after(self, seq: int, limit: int) -> tuple[list[Line], int]:
        """Return up to ``limit`` lines that follow ``seq``, and how many before them are gone."""
        with self._changed:
            at = bisect.bisect_right(self._blocks, seq, lo=self._start, key=_last_of)
            blocks: list[_Block] = []
            found = 0
            while at < len(self._blocks) and found < limit:
                blocks.append(self._blocks[at])
                found += _last_of(self._blocks[at]) - max(seq, self._blocks[at].first - 1)
                at += 1
        # Splitting happens outside the lock: the pump must not wait for a reader.
        lines = [line for block in blocks for line in block.lines() if line.seq > seq][:limit]
        return lines, (lines[0].seq - seq - 1 if lines else 0)

    def tail(self, count: int) -> int:
        """Return the sequence number after which the last ``count`` lines follow."""
        return max(0, self._last - count)

    def since(self, time_ns: int) -> int:
        """Return the sequence number after which lines not older than ``time_ns`` follow."""
        with self._changed:
            at = bisect.bisect_left(self._blocks, time_ns, lo=self._start, key=lambda block: block.time_ns)
            return self._blocks[at].first - 1 if at < len(self._blocks) else self._last

    def wait(self, seq: int, timeout: float) -> None:
        """Return when a line after ``seq`` is there, when the ring is closed, or after ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._last > seq or self._closed, timeout)

    def wake(self) -> None:
        """Let every waiting reader look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come: readers end after the last line."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _last_of(block: _Block) -> int:
    return block.first + block.lines_in - 1


class Mirror(threading.Thread):
    """Writes lines on to a descriptor that may block for ever; the queue before it is bounded and drops its oldest."""

    def __init__(self, descriptor: int, limit: int) -> None:
        super().__init__(name="log-mirror", daemon=True)
        self._descriptor = descriptor
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._writing = False
        self._changed = threading.Condition()

    def put(self, data: bytes) -> None:
        with self._changed:
            self._queue.append(data)
            self._size += len(data)
            while self._size > self._limit and len(self._queue) > 1:
                oldest = self._queue.popleft()
                self._size -= len(oldest)
                self._dropped += oldest.count(b"\n")
            self._changed.notify()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is written; False when that took longer than ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._writing, timeout)

    def run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue)
                batch, self._dropped, dropped = self._queue.popleft(), 0, self._dropped
                self._size -= len(batch)
                self._writing = True
            if dropped:
                batch = b"karst: %d lines dropped here, because nobody read them in time\n" % dropped + batch
            try:
                view = memoryview(batch)
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                # Nobody will ever read this descriptor again. The ring still has the lines.
                with self._changed:
                    self._queue.clear()
                    self._size = 0


class Pump(threading.Thread):
    """Reads the pipes of the app (and the runner's own stderr) and hands whole lines to ring and mirror.

    The pipes live as long as the runner: a restarted app writes into the same ones, and a grandchild that outlives its
    parent keeps its log.
    """

    def __init__(self, ring: Ring, mirror: Mirror) -> None:
        super().__init__(name="log-pump", daemon=True)
        self._ring = ring
        self._mirror = mirror
        self._streams: dict[int, int] = {}
        self._rest: dict[int, bytes] = {}
        self._poll = select.poll()
        self.stdout = self._pipe(STDOUT)
        self.stderr = self._pipe(STDERR)
        self.own = self._pipe(RUNNER)
        self._wake_read, self._wake = os.pipe()
        self._poll.register(self._wake_read, select.POLLIN)
        self._idle = threading.Event()

    def _pipe(self, stream: int) -> int:
        reader, writer = os.pipe()
        with contextlib.suppress(OSError):  # a bigger pipe only makes the app's bursts cheaper
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._streams[reader] = stream
        self._rest[stream] = b""
        self._poll.register(reader, select.POLLIN)
        return writer

    def say(self, text: str) -> None:
        """Add one line of the runner's own."""
        self._emit(RUNNER, b"karst: " + text.encode(errors="replace").replace(b"\n", b" ") + b"\n")

    def settle(self, timeout: float) -> None:
        """Wait until what was written so far is in the ring, unfinished last lines included."""
        self._idle.clear()
        os.write(self._wake, b".")
        self._idle.wait(timeout)

    def run(self) -> None:
        settling = False
        while True:
            events = self._poll.poll(0 if settling else None)
            if settling and not events:
                for stream in list(self._rest):
                    self._finish(stream)
                settling = False
                self._idle.set()
            for descriptor, _ in events:
                if descriptor == self._wake_read:
                    os.read(descriptor, 64)
                    settling = True
                else:
                    self._feed(self._streams[descriptor], os.read(descriptor, READ_SIZE))

    def _feed(self, stream: int, data: bytes) -> None:
        data = self._rest[stream] + data
        cut = data.rfind(b"\n") + 1
        whole, rest = data[:cut], data[cut:]
        if len(rest) > MAX_LINE:  # a line without an end: cut it up as far as it goes
            pieces = _pieces(rest)
            rest = pieces.pop()
            whole += b"".join(piece + b"\n" for piece in pieces)
        self._rest[stream] = rest
        if len(whole) > MAX_LINE:
            lines = whole[:-1].split(b"\n")
            if max(map(len, lines)) > MAX_LINE:
                whole = b"".join(piece + b"\n" for line in lines for piece in _pieces(line))
        if whole:
            self._emit(stream, whole)

    def _finish(self, stream: int) -> None:
        rest, self._rest[stream] = self._rest[stream], b""
        if rest:
            self._emit(stream, rest + b"\n")

    def _emit(self, stream: int, data: bytes) -> None:
        self._ring.append(stream, data)
        self._mirror.put(data)


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE] for at in range(0, len(line), MAX_LINE)] or [b""]
