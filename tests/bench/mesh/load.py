"""Load by fortio, from inside a container: at a fixed rate, or as much as goes; and the times, exactly."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

LOG = "/tmp/requests"  # as runner.py has it

CONNECTIONS = 8
PROTOCOLS = ("HTTP/1.1", "HTTP/2", "gRPC")


@dataclass(frozen=True)
class Target:
    """Where to send.

    Attributes:
        url: scheme, host and port.
        host: the service's name, as Host or authority; "" as the URL says.
        tls: the caller speaks mTLS by itself, with /secrets.
    """

    url: str
    host: str = ""
    tls: bool = False


@dataclass
class Outcome:
    """What came of one slice of load.

    Attributes:
        requests: answered, right or wrong.
        failed: of these, not as they should be.
        per_second: answered, over the whole slice.
        times: milliseconds of each; empty without a rate.
    """

    requests: int
    failed: int
    per_second: float
    times: list[float] = field(default_factory=list)

    def quantile(self, part: float) -> float:
        """The time that ``part`` of the requests took at most."""
        return sorted(self.times)[min(len(self.times) - 1, int(part * len(self.times)))]


class Loader:
    """A container's end of the load; closed by ``close``."""

    def __init__(self, container: str) -> None:
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", container, "python3", "/bench/runner.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, target: Target, protocol: str, size: int, *, rate: float, seconds: float) -> Outcome:
        """Send for ``seconds``: ``rate`` a second, or with 0 as many as are answered; AssertionError if nothing is.

        An answer has ``size`` bytes; a gRPC call has as many (fortio's PingServer sends back what it gets).
        """
        command = ["/bench/fortio", "load", "-loglevel", "Error", "-json", "-", "-c", str(CONNECTIONS)]
        command += ["-qps", f"{rate:g}", "-t", f"{seconds}s", "-log-errors=false", "-httpbufferkb", "256"]
        if rate:
            command += ["-uniform", "-access-log-file", LOG]
        if target.host:
            command += ["-H", f"Host:{target.host}"]
        if target.tls:
            command += ["-cacert", "/secrets/ca.pem", "-cert", "/secrets/svid.pem", "-key", "/secrets/svid.pem"]
        if protocol == "gRPC":
            command += ["-grpc", "-ping", "-payload-file", f"/bench/{size}", target.url.removeprefix("http://")]
        else:
            command += ["-h2"] if protocol == "HTTP/2" else []
            command += [f"{target.url}/{size}"]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        done = json.loads(self._process.stdout.readline())
        assert done["code"] == 0, done["said"][-600:]
        said = json.loads(done["out"])
        count = said["DurationHistogram"]["Count"]
        good = said["RetCodes"].get("SERVING" if protocol == "gRPC" else "200", 0)
        rows = [json.loads(line) for line in done["log"].splitlines()]
        return Outcome(count, count - good, said["ActualQPS"], due_times(rows, CONNECTIONS / rate) if rate else [])


def due_times(rows: list[dict[str, Any]], interval: float) -> list[float]:
    """Milliseconds of each request from when it was due.

    A connection carries one request at a time. fortio spreads n of them, ``interval`` seconds apart, over n intervals:
    the first at the beginning, the last at the end. Where the one before was not answered by then, the time counts from
    when this one should have been sent.
    """
    times: list[float] = []
    ended: dict[int, float] = {}
    first: dict[int, float] = {}
    count = {row["thread"]: row["iter"] + 1 for row in sorted(rows, key=lambda row: int(row["iter"]))}
    for row in sorted(rows, key=lambda row: int(row["timestamp"])):
        sent, thread = row["timestamp"] / 1e9, row["thread"]
        end = sent + row["latency"]
        step = interval * count[thread] / max(1, count[thread] - 1)
        due = first.setdefault(thread, sent) + row["iter"] * step
        begin = due if ended.get(thread, 0.0) > due else sent
        times.append(1000 * (end - begin))
        ended[thread] = end
    return times
