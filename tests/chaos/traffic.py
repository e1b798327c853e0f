"""The load of a run: which lanes, sent from where, and what came of them, phase by phase."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.load import SLICE
from tests.chaos.stage import HERE, Stage

RATE = 200.0  # requests a second of each protocol on each path
LONG = 10.0  # seconds that a long request takes; below the drain limit
CONNECTIONS = (("kept", False, 0.8), ("new", True, 0.2))  # shares of the requests
AT_MOST = 240.0  # seconds that one run sends, whatever happens to this process

Lanes = list[dict[str, Any]]
Door = tuple[str, int, str]  # host, port, whom to ask for


def lanes(path: str, http: Door, grpc: Door, *, rate: float = RATE, tls: dict[str, str] | None = None) -> Lanes:
    """``rate`` requests a second over HTTP, half GET, half POST, as many over gRPC, and long ones beside them.

    Names are `<path>|<group>|<kind>`. ``tls`` is for gRPC.
    """
    web = {"kind": "http", **dict(zip(("host", "port", "authority"), http, strict=True))}
    rpc = {"kind": "grpc", **dict(zip(("host", "port", "authority"), grpc, strict=True)), "tls": tls or {}}
    sent: Lanes = []
    for kind, fresh, share in CONNECTIONS:
        for method in ("GET", "POST"):
            name = f"{path}|HTTP|{method} {kind}"
            sent.append({**web, "name": name, "method": method, "fresh": fresh, "rate": rate * share / 2})
        sent.append({**rpc, "name": f"{path}|gRPC|{kind}", "fresh": fresh, "rate": rate * share})
    long = {"length": LONG, "rate": 0.5}
    return [
        *sent,
        {**web, **long, "name": f"{path}|long|GET"},
        {**web, **long, "name": f"{path}|long|POST", "method": "POST"},
        {**web, **long, "name": f"{path}|long|server-sent", "stream": True},
        {**rpc, **long, "name": f"{path}|long|gRPC stream", "stream": True},
    ]


def beyond(wanted: Lanes, seconds: float) -> Lanes:
    """One stream over HTTP and one over gRPC that take longer than a drain waits: meant to be cut, they show when."""
    streams = [lane for lane in wanted if lane.get("stream")]
    return [
        {**lane, "name": lane["name"].replace("|long|", "|beyond|"), "length": seconds, "rate": 1, "limit": 1}
        for lane in streams
    ]


def caller_lanes(rate: float = RATE) -> Lanes:
    """Through the caller's own sidecar."""
    return lanes("caller", ("127.0.0.1", 15001, "web"), ("127.0.0.1", 15001, "rpc"), rate=rate)


def edge_lanes(stage: Stage, rate: float = RATE) -> Lanes:
    """Through the host's doors: the front door for HTTP, mTLS with the operator's certificate for gRPC."""
    folder, ports = stage.kit.secrets_dir, stage.kit.ports
    # One file for chain and key: a rotation swaps both at once, which two files cannot be.
    svid = str(folder / "mesh" / "ops-operator" / "svid.pem")
    tls = {"ca": str(folder / "ca.pem"), "cert": svid, "key": svid}
    web, rpc = ("127.0.0.1", ports["front_door"], "web.localhost"), ("127.0.0.1", ports["edge"], "rpc")
    return lanes("edge", web, rpc, rate=rate, tls=tls)


class Sender:
    """One process that sends ``lanes``; ``command`` is how load.py is run."""

    def __init__(self, command: list[str], wanted: Lanes) -> None:
        self.command, self.lanes = command, wanted
        self.began = 0.0
        self.report: dict[str, Any] = {}

    def start(self, seconds: float) -> None:
        """Start the process; it has read its lanes when this returns, and does not send yet."""
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"seconds": seconds, "lanes": self.lanes}) + "\n")
        self._process.stdin.flush()

    def await_first(self) -> None:
        """Wait until it sends."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load did not start: {' '.join(self.command)}")
        self.began = json.loads(line)["sending"]
        # Read while it runs: a full pipe would hold it up.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        lines = self._process.stdout.readlines()
        self.report = json.loads(lines[-1]) if lines else {}

    def stop(self) -> None:
        """Have it send no more; answers are still waited for."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def await_report(self, seconds: float = 150) -> None:
        """Wait for the last answer."""
        self._reader.join(seconds)
        if not self.report:
            raise RuntimeError(f"the load ended without a report: {' '.join(self.command)}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def here(wanted: Lanes, prefix: list[str] | None = None) -> Sender:
    """Send from this machine; ``prefix`` goes before the command."""
    return Sender([*(prefix or []), sys.executable, str(HERE / "load.py")], wanted)


def senders(
    stage: Stage, path: str, rate: float = RATE, *, extra: Callable[[Lanes], Lanes] | None = None
) -> list[Sender]:
    """Who sends on ``path``: ``caller``, ``edge`` or ``both``."""
    chosen = []
    if path in ("caller", "both"):
        wanted = caller_lanes(rate)
        chosen.append(Sender(stage.inside(), wanted + (extra(wanted) if extra else [])))
    if path in ("edge", "both"):
        wanted = edge_lanes(stage, rate)
        prefix = stage.kit.engine.prefix if stage.kit.engine else []
        chosen.append(here(wanted + (extra(wanted) if extra else []), prefix))
    return chosen


class Traffic:
    """Load that runs beside what the caller does. `mark` begins a phase; `finish` ends the sending and reports."""

    def __init__(self, chosen: list[Sender]) -> None:
        self.senders = chosen
        self._marks: list[tuple[float, str]] = []
        self.began = 0.0

    def start(self, seconds: float = AT_MOST) -> None:
        """Start every sender, and wait until all of them send."""
        for sender in self.senders:
            sender.start(seconds)
        for sender in self.senders:
            sender.await_first()
        self.began = max(sender.began for sender in self.senders)
        self.mark("before")

    def mark(self, phase: str) -> None:
        """From now on it is ``phase``."""
        self._marks.append((time.time(), phase))

    def until(self, seconds: float) -> None:
        """Wait until ``seconds`` after the beginning."""
        time.sleep(max(0.0, self.began + seconds - time.time()))

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.time() - self.began

    def finish(self) -> dict[str, Any]:
        """End the sending, wait for the last answers, and return what became of it."""
        for sender in self.senders:
            sender.stop()
        for sender in self.senders:
            sender.await_report()
        groups: dict[str, dict[str, Any]] = {}
        failures = []
        for sender in self.senders:
            for lane in sender.report["lanes"]:
                name = "|".join(lane["name"].split("|")[:2])
                _add(groups.setdefault(name, _empty()), lane, int((sender.began - self.began) / SLICE))
                for offset, took, error in lane["failures"]:
                    at = sender.began + offset
                    failures.append([lane["name"], round(at - self.began, 2), self._phase(at), took, error])
        for group in groups.values():
            group["down_seconds"] = down(group.pop("slices"))
        return {
            "groups": groups,
            "failures": sorted(failures, key=lambda failure: float(failure[1])),
            "phases": [[round(at - self.began, 1), phase] for at, phase in self._marks],
            "load_processor": [sender.report["processor"] for sender in self.senders],
        }

    def _phase(self, at: float) -> str:
        return next((phase for begin, phase in reversed(self._marks) if begin <= at), "before")


def _empty() -> dict[str, Any]:
    numbers = {"sent": 0, "failed": 0, "p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0, "slip_ms": 0.0}
    return {**numbers, "errors": {}, "versions": {}, "slices": {}}


def _add(group: dict[str, Any], lane: dict[str, Any], shift: int) -> None:
    """Put a lane's numbers into its group's; the worst lane's times stand for the group."""
    group["sent"] += lane["sent"]
    group["failed"] += lane["failed"]
    group["slip_ms"] = max(group["slip_ms"], lane["slip_ms"])
    for key in ("p50", "p99", "max"):
        group[f"{key}_ms"] = max(group[f"{key}_ms"], lane["ms"][key] or 0)
    for error, count in lane["errors"].items():
        group["errors"][error] = group["errors"].get(error, 0) + count
    for version, (first, last, count) in lane["versions"].items():
        seen = group["versions"].setdefault(version, [first, last, 0])
        seen[0], seen[1], seen[2] = min(seen[0], first), max(seen[1], last), seen[2] + count
    for index, (ok, failed) in lane["slices"].items():
        pair = group["slices"].setdefault(int(index) + shift, [0, 0])
        pair[0] += ok
        pair[1] += failed


def down(slices: dict[int, list[int]]) -> float:
    """Seconds in which requests failed and not one that was due in the same tenth of a second succeeded."""
    return round(SLICE * sum(1 for ok, failed in slices.values() if failed and not ok), 1)


@contextlib.contextmanager
def running(*chosen: Sender, seconds: float = AT_MOST) -> Iterator[Traffic]:
    """Load from ``chosen`` for as long as the block takes; the block calls `finish` itself to have the reports."""
    traffic = Traffic(list(chosen))
    try:
        traffic.start(seconds)
        yield traffic
    finally:
        for sender in chosen:
            with contextlib.suppress(AttributeError):  # was never started
                sender.kill()
