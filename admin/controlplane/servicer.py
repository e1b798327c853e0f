"""What the ControlPlane's calls do: Deploy, HealthCheck and the two log streams, over the parts that HTTP uses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf import timestamp_pb2

from admin import entries
from admin.api.engine import engine, shared
from admin.auth.authenticate import Principal
from admin.auth.roles import Role
from admin.context import Context
from admin.controlplane.errors import abort
from admin.controlplane.identity import Identities
from admin.problems import Problem
from admin.runs.events import clean
from admin.runs.manager import Request
from karst.errors import KarstError
from karst.pb import controlplane_pb2 as pb
from karst.pb import controlplane_pb2_grpc

if TYPE_CHECKING:
    import grpc

log = logging.getLogger("karst.admin")

ALL = 10_000  # as many past lines of a container as the HTTP API gives
BATCH = 1024
_BATCH_SECONDS = 0.1
# From the worst to the best; a service that could not be asked is as bad as one that does not serve.
_WORST = ("FAILED", "UNREACHABLE", "NOT_SERVING", "UNKNOWN", "STARTING", "SERVING", "COMPLETED")


class ControlPlane(controlplane_pb2_grpc.ControlPlaneServicer):
    """Every call first asks who calls; there is no way around `_admit`."""

    def __init__(self, ctx: Context, identities: Identities) -> None:
        self._ctx = ctx
        self._identities = identities

    def Deploy(self, request: pb.DeployRequest, context: grpc.ServicerContext) -> pb.DeployResult:
        with self._answering(context), self._admit(context, "Deploy", write=True, stream=True) as who:
            slugs = list(request.slugs)
            run, _ = self._ctx.runs.start(
                Request(
                    kind="deploy",
                    entries=tuple(slugs),
                    slugs=entries.check(slugs, self._ctx.settings.policy),
                    by=who.subject,
                    by_name=who.name,
                    digest=hashlib.sha256(json.dumps(slugs).encode()).hexdigest(),
                )
            )
            # Early, so that somebody whose connection breaks knows which run goes on without them.
            context.send_initial_metadata((("karst-run", run.id),))
            for _ in self._ctx.runs.follow(run.id):
                if not context.is_active():
                    break
            run = self._ctx.runs.get(run.id)
            if not run.done:
                raise Problem(503, "stopping", f"the admin app stops; run {run.id} goes on", hint="ask for it later")
            results = [_result(row) for row in clean(list(run.services))]
            return pb.DeployResult(results=results, exit_code=6 if run.exit_code is None else run.exit_code, run=run.id)

    def HealthCheck(self, _request: Any, context: grpc.ServicerContext) -> pb.HealthStatus:
        with self._answering(context), self._admit(context, "HealthCheck"):
            rows = shared(self._ctx, self._ctx.health, lambda: clean(self._ctx.stack.list_services()))
            return summary(rows, self._ctx.stack.name())

    def StreamLogs(self, request: pb.LogRequest, context: grpc.ServicerContext) -> Iterator[pb.LogLine]:
        with self._answering(context), self._admit(context, "StreamLogs", stream=True) as who:
            for line in self._lines(request, context, who):
                if line is not None:
                    yield line

    def StreamLogBatches(self, request: pb.LogRequest, context: grpc.ServicerContext) -> Iterator[pb.LogBatch]:
        with self._answering(context), self._admit(context, "StreamLogBatches", stream=True) as who:
            batch: list[pb.LogLine] = []
            sent = time.monotonic()
            for line in self._lines(request, context, who):
                if line is not None:
                    batch.append(line)
                if batch and (len(batch) >= BATCH or line is None or time.monotonic() - sent > _BATCH_SECONDS):
                    yield pb.LogBatch(lines=batch)
                    batch, sent = [], time.monotonic()
            if batch:
                yield pb.LogBatch(lines=batch)

    def _lines(
        self, request: pb.LogRequest, context: grpc.ServicerContext, who: Principal
    ) -> Iterator[pb.LogLine | None]:
        if request.after_seq:
            raise Problem(
                400,
                "bad_parameter",
                "after_seq counts the lines of one runner",
                hint="here, `since` goes on after a time",
            )
        tail = request.tail if request.HasField("tail") else ALL
        if tail > ALL:
            raise Problem(400, "bad_parameter", f"`tail` is at most {ALL}")
        oldest = request.since.ToNanoseconds() if request.HasField("since") else 0

        def over() -> bool:
            ended = who.expires is not None and time.time() > who.expires
            return ended or self._ctx.runs.stopping.is_set() or not context.is_active()

        lines = self._ctx.stack.logs(request.service, tail=tail, follow=request.follow, stop=over)
        if not request.follow:
            with engine(self._ctx):
                lines = iter(list(lines))
        for raw in lines:
            line = None if raw is None else _line(clean(raw))
            if line is None or line.ts.ToNanoseconds() >= oldest:
                yield line

    @contextlib.contextmanager
    def _answering(self, context: grpc.ServicerContext) -> Iterator[None]:
        try:
            yield
        except Exception as err:
            abort(context, err)

    @contextlib.contextmanager
    def _admit(
        self, context: grpc.ServicerContext, method: str, *, write: bool = False, stream: bool = False
    ) -> Iterator[Principal]:
        """Who calls, counted; Problem 403 for anybody but the operator, 429 for too much."""
        ctx = self._ctx
        caller = self._identities.caller(context.auth_context())
        if caller is None:
            self._refused(method)
            raise Problem(
                403,
                "not_the_operator",
                f"only {self._identities.operator.uri} may call this",
                hint="use secrets/operator.crt and operator.key",
            )
        who = Principal(caller.uri, Role.ADMIN, "operator", caller.expires)
        log.info("grpc %s by %s", method, who.subject)
        if (ctx.writes if write else ctx.reads).take(who.subject):
            raise Problem(429, "too_many_requests", "too many requests by this caller")
        leave: Callable[[], None] = lambda: None  # noqa: E731
        if stream:
            if not ctx.streams["grpc"].enter(who.subject):
                raise Problem(429, "too_many_streams", "too many open streams", hint="close one first")
            leave = lambda: ctx.streams["grpc"].leave(who.subject)  # noqa: E731
        try:
            yield who
        finally:
            leave()

    def _refused(self, method: str) -> None:
        if self._ctx.refusals.take("nobody"):
            return
        try:
            self._ctx.audit.write("refused", "nobody", "not_the_operator", method=method, path="", listener="grpc")
        except KarstError as err:
            log.error("the audit log cannot be written: %s", err.message)


def summary(rows: list[dict[str, Any]], stack: str) -> pb.HealthStatus:
    """The worst of all services, with a sentence for each that is not healthy. Without any, nothing is wrong."""
    found = [str(row.get("status", "UNKNOWN")) for row in rows]
    status = min(found, key=_rank, default="SERVING")
    told = [
        f"{row.get('service')}: {row.get('status')}" + (f": {row['reason']}" if row.get("reason") else "")
        for row in rows
        if row.get("status") not in ("SERVING", "COMPLETED")
    ]
    if status == "COMPLETED" and "SERVING" in found:
        status = "SERVING"
    reason = "; ".join(told) if rows else "no services are deployed"
    return pb.HealthStatus(status=_status(status), reason=reason, stack=stack)


def _rank(status: str) -> int:
    return _WORST.index(status) if status in _WORST else _WORST.index("UNKNOWN")


def _status(word: str) -> Any:
    """The contract has no word for a service that cannot be reached: nothing is known of it."""
    known = pb.HealthStatus.Status.keys()
    return pb.HealthStatus.Status.Value(word if word in known else "UNKNOWN")


def _result(row: dict[str, Any]) -> pb.ServiceResult:
    code = row.get("exit_code")
    return pb.ServiceResult(
        service=str(row.get("service", "")),
        status=_status(str(row.get("status", "UNKNOWN"))),
        reason=str(row.get("reason") or ""),
        revision=str(row.get("revision") or ""),
        **({"exit_code": code} if isinstance(code, int) else {}),
    )


def _line(line: dict[str, str]) -> pb.LogLine:
    return pb.LogLine(ts=_timestamp(line["ts"]), msg=line["msg"], service=line["service"])


def _timestamp(text: str) -> timestamp_pb2.Timestamp:
    """Docker's RFC 3339 with nanoseconds; the beginning of time for what is none."""
    stamp = timestamp_pb2.Timestamp()
    whole, _, rest = text.rstrip("Z").partition(".")
    try:
        seconds = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
        stamp.FromNanoseconds(int(seconds) * 1_000_000_000 + int(rest[:9].ljust(9, "0") if rest else 0))
    except ValueError:
        return timestamp_pb2.Timestamp()
    return stamp
