"""What the sidecars count: requests, answers, times, connections and refusals of each service, asked through the edge.

The figures are since the start of the sidecar, so since the last replacement of the pod. A rate needs two looks.
"""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from karst import doors
from karst.containers import Member
from karst.errors import KarstError
from karst.stack import Stack

_TIMEOUT = 5.0
# Of Envoy's thousand-odd numbers, those that say how a service is doing.
_NUMBERS = (
    r"http\.(?:inbound|outbound)\.downstream_(?:rq_(?:total|active|[1-5]xx|time)|cx_(?:total|active))"
    r"|http\.(?:inbound|outbound)\.rbac\.(?:allowed|denied)"
    r"|(?:listener\.[^:]*|cluster\.DFPCluster_[^:]*)\.ssl\.(?:handshake|connection_error|fail_verify_\w+)"
    r"|server\.(?:live|state|uptime|memory_allocated|days_until_first_cert_expiring)"
)
_NUMBER = re.compile(_NUMBERS)
# envoy.yaml.tmpl has them counted: served.from.<SPIFFE URI>, called.to.<service>.
_COUNTER = re.compile(r"karst\.(served\.from|called\.to)\.(.+)\.code\.(\d+)\.grpc\.(\d*)")
_HISTOGRAM = re.compile(r"karst\.(served|called)_us\.(?:from|to)\.(.+)")
_TLS_FAILURES = re.compile(r".*\.ssl\.(?:connection_error|fail_verify_\w+)")
_QUERY = urllib.parse.urlencode(
    {"format": "json", "histogram_buckets": "cumulative", "filter": rf"^(?:karst\..*|{_NUMBERS})$"}
)
# What gRPC says when the server is at fault: unknown, deadline, unimplemented, internal, unavailable, data loss.
_GRPC_ERRORS = frozenset({2, 4, 12, 13, 14, 15})


@dataclass
class Traffic:
    """Requests of one kind: of one caller, to one destination, or of many together.

    Attributes:
        requests: answered ones, whatever the answer.
        errors: HTTP 5xx, and gRPC statuses that blame the server.
        refused: HTTP 403, and gRPC PERMISSION_DENIED.
        buckets: microseconds → number of requests that took no longer.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    buckets: dict[float, int] = field(default_factory=dict)

    def __add__(self, other: Traffic) -> Traffic:
        return self._with(other, 1)

    def __sub__(self, other: Traffic) -> Traffic:
        return self._with(other, -1)

    def _with(self, other: Traffic, sign: int) -> Traffic:
        return Traffic(
            self.requests + sign * other.requests,
            self.errors + sign * other.errors,
            self.refused + sign * other.refused,
            {
                bound: self.buckets.get(bound, 0) + sign * other.buckets.get(bound, 0)
                for bound in sorted(self.buckets.keys() | other.buckets.keys())
            },
        )

    def quantile(self, share: float) -> float | None:
        """Milliseconds within which ``share`` of the requests were answered; None when none is known."""
        total = max(self.buckets.values(), default=0)
        below, seen = 0.0, 0
        for bound, count in self.buckets.items():
            if total and count >= share * total:
                # Even within the bucket: that is as much as is known.
                part = (share * total - seen) / (count - seen) if count > seen else 1.0
                return round((below + (bound - below) * part) / 1000, 2)
            below, seen = bound, count
        return None


@dataclass(frozen=True)
class Sample:
    """One look at one sidecar.

    Attributes:
        at: seconds, monotonic.
        numbers: Envoy's own counters and gauges, by their names.
        served: what came in, by the caller's SPIFFE URI.
        called: what went out, by the destination's name.
    """

    at: float = 0.0
    numbers: Mapping[str, int] = field(default_factory=dict)
    served: Mapping[str, Traffic] = field(default_factory=dict)
    called: Mapping[str, Traffic] = field(default_factory=dict)


def parse_stats(text: str) -> dict[str, int]:
    """``name: number`` lines of Envoy's /stats, those that matter."""
    numbers = {}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if value.isdecimal() and _NUMBER.fullmatch(name):
            numbers[name] = int(value)
    return numbers


def parse(text: str, at: float = 0.0) -> Sample:
    """Read Envoy's /stats?format=json&histogram_buckets=cumulative; KarstError when it is something else."""
    try:
        entries = json.loads(text)["stats"]
        traffic: dict[str, dict[str, Traffic]] = {"served": {}, "called": {}}
        numbers: dict[str, int] = {}
        for entry in entries:
            for histogram in entry.get("histograms", ()) if "name" not in entry else ():
                if found := _HISTOGRAM.fullmatch(histogram["name"]):
                    buckets = {float(b["upper_bound"]): int(b["cumulative"]) for b in histogram["buckets"]}
                    traffic[found[1]].setdefault(found[2], Traffic()).buckets = buckets
            if "name" not in entry:
                continue
            if found := _COUNTER.fullmatch(entry["name"]):
                kind, peer, code, status = found.groups()
                _count(traffic[kind.partition(".")[0]].setdefault(peer, Traffic()), entry["value"], code, status)
            elif _NUMBER.fullmatch(entry["name"]) and isinstance(entry["value"], int):
                numbers[entry["name"]] = entry["value"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as err:
        raise KarstError("a sidecar's figures are not what Envoy writes", code="no_stats") from err
    return Sample(at, numbers, traffic["served"], traffic["called"])


def _count(traffic: Traffic, value: int, code: str, status: str) -> None:
    traffic.requests += value
    if code.startswith("5") or (status and int(status) in _GRPC_ERRORS):
        traffic.errors += value
    if code == "403" or status == "7":
        traffic.refused += value


def read(stack: Stack, service: str, path: str = "stats", query: str = "", *, pod: str = "") -> str:
    """Ask the edge for the figures of one service, or of its pod of that name; KarstError when they cannot be had."""
    where = f"/services/{service}/pods/{pod}/{path}" if pod else f"/services/{service}/{path}"
    try:
        status, body = doors.get(stack.metrics, f"{where}?{query}" if query else where, _TIMEOUT)
        if status != 200:
            raise OSError(f"HTTP {status}")
        return body.decode("utf-8", "replace")
    except OSError as err:
        raise KarstError(f"the sidecar of `{service}` gives no numbers", hint=str(err)[:200], code="no_stats") from err


def look(stack: Stack, services: Mapping[str, Sequence[str]]) -> dict[str, Sample | None]:
    """Look at every service's pods at once; None for a service when one of its sidecars does not answer.

    ``services`` has the names of each service's running pods, as of `pods_of`: by the service's name the edge asks any.
    """

    def one(where: tuple[str, str]) -> Sample | None:
        try:
            return parse(read(stack, where[0], query=_QUERY, pod=where[1]), time.monotonic())
        except KarstError:
            return None

    wanted = [(name, pod) for name, pods in services.items() for pod in (pods if len(pods) > 1 else [""])]
    if not wanted:
        return {}
    with ThreadPoolExecutor(max_workers=min(16, len(wanted))) as pool:
        seen = list(zip(wanted, pool.map(one, wanted), strict=True))
    return {name: together([sample for (service, _), sample in seen if service == name]) for name in services}


def pods_of(members: Sequence[Member]) -> dict[str, list[str]]:
    """Service → names of the running pods of its newest generation, from the stack's containers, newest first."""
    newest: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for pod in members:
        if pod.role == "pod" and newest.setdefault(pod.service, pod.generation) == pod.generation:
            found.setdefault(pod.service, [])
            if pod.state == "running":
                found[pod.service].append(pod.name)
    return found


def together(samples: Sequence[Sample | None]) -> Sample | None:
    """The figures of a service's pods as those of one; None when one of them is not there."""
    there = [sample for sample in samples if sample is not None]
    if not there or len(there) < len(samples):
        return None
    numbers: dict[str, int] = {}
    for sample in there:
        for name, value in sample.numbers.items():
            # Of what cannot be added up, the one that is to be minded first.
            least = name in ("server.uptime", "server.days_until_first_cert_expiring", "server.live")
            before = numbers.get(name)
            numbers[name] = value if before is None else min(before, value) if least else before + value

    def merged(sides: Iterable[Mapping[str, Traffic]]) -> dict[str, Traffic]:
        summed: dict[str, Traffic] = {}
        for side in sides:
            for peer, traffic in side.items():
                summed[peer] = summed.get(peer, Traffic()) + traffic
        return summed

    return Sample(there[-1].at, numbers, merged(s.served for s in there), merged(s.called for s in there))


def total(traffic: Mapping[str, Traffic]) -> Traffic:
    return sum(traffic.values(), Traffic())


def difference(now: Mapping[str, Traffic], before: Mapping[str, Traffic]) -> dict[str, Traffic] | None:
    """What happened in between, by peer; None when it cannot be told (the sidecar is not the same one as before)."""
    changed = {peer: traffic - before.get(peer, Traffic()) for peer, traffic in now.items()}
    if before.keys() - now.keys() or any(traffic.requests < 0 for traffic in changed.values()):
        return None
    return changed


def flow(now: Traffic, since: Traffic | None, seconds: float, *, recent: bool = False) -> dict[str, Any]:
    """Plain numbers of a traffic: totals, the rate of ``since``, and times (``recent``: of ``since`` alone)."""
    timed = (since or Traffic()) if recent else now
    return {
        "requests": now.requests,
        "errors": now.errors,
        "refused": now.refused,
        "rate": None if since is None or seconds <= 0 else round(since.requests / seconds, 2),
        "error_rate": None if since is None or seconds <= 0 else round(since.errors / seconds, 2),
        **{f"p{round(share * 100)}_ms": timed.quantile(share) for share in (0.5, 0.95, 0.99)},
    }


def summary(now: Sample, before: Sample | None, *, recent: bool = False) -> dict[str, Any]:
    """One service's figures as plain data; rates are None without a look before."""
    seconds = now.at - before.at if before else 0.0
    sides: dict[str, Any] = {}
    for side, traffic, earlier in (
        ("inbound", now.served, before.served if before else {}),
        ("outbound", now.called, before.called if before else {}),
    ):
        changed = difference(traffic, earlier) if before else None
        since = None if changed is None else total(changed)
        sides[side] = flow(total(traffic), since, seconds, recent=recent)
    numbers = now.numbers
    return {
        **sides,
        "connections": {side: numbers.get(f"http.{side}.downstream_cx_active", 0) for side in ("inbound", "outbound")},
        "tls_failures": sum(value for name, value in numbers.items() if _TLS_FAILURES.fullmatch(name)),
        "rbac_denied": numbers.get("http.inbound.rbac.denied", 0),
        "uptime_seconds": numbers.get("server.uptime", 0),
        "certificate_days": numbers.get("server.days_until_first_cert_expiring"),
    }


def memory(connection: Any, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Container id → bytes ``used`` (file cache that can be dropped left out) and their ``limit``."""

    def one(container: str) -> dict[str, int]:
        import docker.errors

        try:
            stats = connection.api.stats(container, stream=False, one_shot=True)["memory_stats"]
        except (docker.errors.APIError, KeyError):  # it ended meanwhile
            return {}
        detail = stats.get("stats", {})
        cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
        return {"used": max(0, stats.get("usage", 0) - cache), "limit": stats.get("limit", 0)} if stats else {}

    if not ids:
        return {}
    # The engine takes a second for each answer.
    with ThreadPoolExecutor(max_workers=min(32, len(ids))) as pool:
        return dict(zip(ids, pool.map(one, ids), strict=True))
