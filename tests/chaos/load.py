"""Sends requests at a fixed rate, whatever becomes of the answers, and keeps every one that failed.

    python load.py <SPEC   one line of JSON: {"seconds": at most, "lanes": [{…}, …]}; sending stops when stdin ends

Prints {"sending": <time>} when it begins and one object with a report for each lane when the last answer is in. The
keys of a lane are the attributes of `Lane`. Open loop: a request's time is counted from the moment it was due, even if
it was sent later than that (`slip`), so that a stall is seen in every request that fell into it.
Runs by itself wherever httptools and, for gRPC, grpcio are installed: on the host, or inside a caller's app.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import resource
import sys
import time
from array import array
from typing import Any

import httptools

SLICE = 0.1  # seconds: how finely it is kept when requests failed
UNDER_WAY = 4000  # of one lane; more would only measure this process
KEPT_FAILURES = 5000


@dataclasses.dataclass
class Lane:
    """One kind of request, at one rate.

    Attributes:
        name: what the report calls it.
        kind: ``http`` or ``grpc``.
        rate: requests a second.
        host, port: where to connect to; ``authority``: whom to ask there.
        method: of HTTP. A POST's body, and a gRPC message, comes back in the answer, which is checked.
        fresh: a new connection for each request; else connections are kept and used again.
        length: 0 for a short request; else the seconds that the answer takes.
        stream: the long answer comes piece by piece, not at its end.
        timeout: seconds that an answer may take beyond ``length``.
        limit: number of requests; 0 for no limit.
        tls: names of PEM files, {"ca": …, "cert": …, "key": …}, for gRPC over mTLS.
    """

    name: str
    kind: str
    rate: float
    host: str
    port: int
    authority: str
    method: str = "GET"
    fresh: bool = False
    length: float = 0
    stream: bool = False
    timeout: float = 10
    limit: int = 0
    tls: dict[str, str] = dataclasses.field(default_factory=dict)


class WrongAnswerError(Exception):
    """The answer came, and is not what was asked for."""


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection: one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.open = False
        self._parser: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.open = transport, True

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send ``request``; the value is (status, body)."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        try:
            if self._parser is not None:
                self._parser.feed_data(data)
        except httptools.HttpParserError as err:
            self._end(WrongAnswerError(f"not HTTP: {err}"))

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.open = False
        self._end((self._parser.get_status_code(), bytes(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._end(exc or ConnectionResetError(f"closed after {len(self._body)} bytes of the answer"))

    def _end(self, result: tuple[int, bytes] | Exception) -> None:
        if self._answer is not None and not self._answer.done():
            if isinstance(result, Exception):
                self._answer.set_exception(result)
            else:
                self._answer.set_result(result)

    def close(self) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.close()


class Http:
    """Asks over HTTP/1.1, as an app does that goes through its proxy: the authority is in Host."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._idle: list[Connection] = []

    async def ask(self, number: int) -> str:
        """Return the version that answered."""
        lane = self._lane
        path = f"/{number}" if not lane.length else f"/{number}?{'stream' if lane.stream else 'slow'}={lane.length:g}"
        body = f"body of {number}" if lane.method == "POST" else ""
        request = (
            f"{lane.method} {path} HTTP/1.1\r\nHost: {lane.authority}\r\n"
            f"Connection: {'close' if lane.fresh else 'keep-alive'}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        connection = await self._connection()
        try:
            status, answer = await connection.ask(request.encode())
        except BaseException:
            connection.close()
            raise
        if lane.fresh or not connection.open:
            connection.close()
        else:
            self._idle.append(connection)
        if status != 200:
            raise WrongAnswerError(f"status {status}: {answer[:120].decode(errors='replace').strip()}")
        return _check(answer.decode(errors="replace").splitlines(), number, body)

    async def _connection(self) -> Connection:
        while self._idle:
            kept = self._idle.pop()
            if kept.open:
                return kept
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._lane.host, self._lane.port)
        return connection

    async def close(self) -> None:
        for connection in self._idle:
            connection.close()


class Grpc:
    """Asks over gRPC with grpcio as it comes, its own (transparent) retries included."""

    def __init__(self, lane: Lane) -> None:
        import grpc.aio

        self._lane = lane
        self._grpc = grpc
        self._kept = None if lane.fresh else self._channel()

    def _channel(self) -> Any:
        lane = self._lane
        options = [
            ("grpc.default_authority", lane.authority),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        target = f"{lane.host}:{lane.port}"
        if not lane.tls:
            return self._grpc.aio.insecure_channel(target, options)
        read = {}
        for file in set(lane.tls.values()):  # each once: chain and key out of one reading belong together
            with open(file, "rb") as opened:
                read[file] = opened.read()
        pem = {name: read[file] for name, file in lane.tls.items()}
        credentials = self._grpc.ssl_channel_credentials(pem["ca"], pem["key"], pem["cert"])
        options.append(("grpc.ssl_target_name_override", lane.authority))
        return self._grpc.aio.secure_channel(target, credentials, options)

    async def ask(self, number: int) -> str:
        """Return the version that answered."""
        channel = self._kept or self._channel()
        timeout = self._lane.length + self._lane.timeout
        try:
            if self._lane.length:
                call = channel.unary_stream("/chaos.Echo/Stream")
                message = f"{number} {self._lane.length:g}".encode()
                pieces = [piece.decode() async for piece in call(message, timeout=timeout)]
            else:
                answer = await channel.unary_unary("/chaos.Echo/Say")(f"body of {number}".encode(), timeout=timeout)
                pieces = answer.decode().splitlines()
        except self._grpc.aio.AioRpcError as err:
            raise WrongAnswerError(f"{err.code().name}: {err.details()}") from None
        finally:
            if channel is not self._kept:
                await channel.close()
        return _check(pieces, number, "" if self._lane.length else f"body of {number}")

    async def close(self) -> None:
        if self._kept is not None:
            await self._kept.close()


def _check(lines: list[str], number: int, body: str) -> str:
    """The version in an answer: its first line is `<version> <number>`, its last one the body, or `done <number>`."""
    version, _, echoed = lines[0].partition(" ") if lines else ("", "", "")
    if echoed != str(number):
        raise WrongAnswerError(f"another request's answer: {lines[:1]}")
    if body and lines[-1] != body:
        raise WrongAnswerError(f"another body: {lines[-1:]}")
    if not body and lines[-1] != f"done {number}":
        raise WrongAnswerError(f"ended early: {len(lines)} lines, the last one {lines[-1:]}")
    return version


class Report:
    """What became of one lane's requests."""

    def __init__(self, lane: Lane) -> None:
        self._name = lane.name
        self.sent = 0
        self._times = array("d")
        self._slip = 0.0
        self._failed = 0
        self._errors: dict[str, int] = {}
        self._failures: list[tuple[float, float, str]] = []
        self._slices: dict[int, list[int]] = {}
        self._versions: dict[str, list[float]] = {}

    def slipped(self, seconds: float) -> None:
        self._slip = max(self._slip, seconds)

    def passed(self, due: float, took: float, version: str) -> None:
        self._times.append(took)
        self._slices.setdefault(int(due / SLICE), [0, 0])[0] += 1
        seen = self._versions.setdefault(version, [due, due, 0])
        seen[0], seen[1], seen[2] = min(seen[0], due), max(seen[1], due), seen[2] + 1

    def failed(self, due: float, took: float, error: str) -> None:
        self._failed += 1
        self._errors[error] = self._errors.get(error, 0) + 1
        self._slices.setdefault(int(due / SLICE), [0, 0])[1] += 1
        if len(self._failures) < KEPT_FAILURES:
            self._failures.append((round(due, 3), round(took * 1000, 1), error))

    def result(self) -> dict[str, Any]:
        ordered = sorted(self._times)

        def at(share: float) -> float | None:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else None

        return {
            "name": self._name,
            "sent": self.sent,
            "ok": len(ordered),
            "failed": self._failed,
            "errors": self._errors,
            "failures": sorted(self._failures),
            "ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1)},
            "slip_ms": round(self._slip * 1000, 1),
            "versions": {
                version: [round(a, 2), round(b, 2), count] for version, (a, b, count) in self._versions.items()
            },
            "slices": {str(index): pair for index, pair in sorted(self._slices.items())},
        }


async def _drive(lane: Lane, report: Report, begin: float, stop: asyncio.Event) -> None:
    """Send one lane's requests, each when it is due, until ``stop``; then wait for those under way."""
    client: Http | Grpc = Http(lane) if lane.kind == "http" else Grpc(lane)
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        try:
            async with asyncio.timeout(lane.length + lane.timeout):
                version = await client.ask(number)
        except TimeoutError:
            report.failed(due - begin, time.monotonic() - due, "timeout")
        except (OSError, WrongAnswerError) as err:
            report.failed(due - begin, time.monotonic() - due, f"{type(err).__name__}: {err}"[:200])
        else:
            report.passed(due - begin, time.monotonic() - due, version)

    for number in range(lane.limit or sys.maxsize):
        due = begin + number / lane.rate
        wait = due - time.monotonic()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await stop.wait()
            except TimeoutError:
                pass
        if stop.is_set():
            break
        report.sent += 1
        report.slipped(time.monotonic() - due)
        if len(under_way) >= UNDER_WAY:
            report.failed(due - begin, 0, f"{UNDER_WAY} requests are under way already")
            continue
        task = asyncio.create_task(one(number, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.wait(under_way)
    await client.close()


async def main() -> None:
    """Read the spec, send, print the reports."""
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    spec = json.loads(await reader.readline())
    lanes = [Lane(**lane) for lane in spec["lanes"]]
    reports = [Report(lane) for lane in lanes]
    stop = asyncio.Event()
    begin = time.monotonic() + 0.1
    print(json.dumps({"sending": time.time() + 0.1}), flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF)

    async def until() -> None:
        try:
            async with asyncio.timeout(spec["seconds"]):
                await reader.read()
        except TimeoutError:
            pass
        stop.set()

    ends = asyncio.create_task(until())
    # Lanes begin a little apart, so that they do not all send in the same millisecond.
    async with asyncio.TaskGroup() as group:
        for index, (lane, report) in enumerate(zip(lanes, reports, strict=True)):
            group.create_task(_drive(lane, report, begin + index * 0.003, stop))
    ends.cancel()
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.monotonic() - begin
    print(
        json.dumps(
            {
                "seconds": round(seconds, 1),
                "processor": round(used / seconds, 3),
                "lanes": [report.result() for report in reports],
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main())
