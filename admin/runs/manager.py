"""Starts, follows, cancels and remembers runs: one at a time, each to its own end."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from admin.audit import Audit
from admin.runs import process
from admin.runs.events import Event, Tail, append, result_of
from admin.runs.record import Folder, Run, finish, is_id, new_id, now
from karst.errors import BusyError, Exit, KarstError
from karst.files import locked, write_atomic

POLL = 0.1
_STDERR_TAIL = 4096
_OUTCOME_OF_EXIT: dict[int, str] = {
    # A command that succeeds says so in its result; silence is no success.
    Exit.OK: "unknown",
    Exit.UNKNOWN: "unknown",
    Exit.FAILED: "failed",
    Exit.USAGE: "failed",
    Exit.BUSY: "busy",
    Exit.AUTH: "failed",
    Exit.UNHEALTHY: "unhealthy",
    Exit.INTERRUPTED: "interrupted",
}


class RunBusy(BusyError):
    """Another run is under way: ``holder``."""

    def __init__(self, holder: Run) -> None:
        super().__init__(
            f"run {holder.id} ({holder.kind}) is under way since {holder.started}, started by "
            f"{holder.by_name or holder.by}",
            hint=f"wait for it, or cancel it: POST /v1/deploys/{holder.id}/cancel",
            code="busy",
        )
        self.holder = holder


class NoSuchRun(KarstError):
    """No run of that id (any more)."""


class KeyReused(KarstError):
    """An Idempotency-Key came back with another request."""


class StalePlan(KarstError):
    """The plan to apply is not the latest."""


class NotCancellable(KarstError):
    """The run has ended."""


@dataclass(frozen=True)
class Request:
    """What to run, and who wants it.

    Attributes:
        kind: the command's verb: ``deploy``, ``plan``, or ``apply`` for exactly the plan of run ``plan``.
        key, digest: hashes of the Idempotency-Key and of the request: a repeated request finds its run.
    """

    kind: str
    entries: tuple[Any, ...]
    slugs: tuple[str, ...]
    by: str
    by_name: str = ""
    key: str = ""
    digest: str = ""
    plan: str = ""


class Runs:
    """All runs of one data folder."""

    def __init__(self, data: Path, command: Sequence[str], cwd: Path, audit: Audit, *, keep: int = 200) -> None:
        self._data = data
        self._command = tuple(command)
        self._cwd = cwd
        self._audit = audit
        self._keep = keep
        self._folder = Folder(data / "runs")
        self._runs: dict[str, Run] = {}
        self._lock = threading.RLock()
        self._open = contextlib.ExitStack()
        self.stopping = threading.Event()

    def open(self) -> None:
        """Take the data folder, and find out what became of the runs in it. BusyError when somebody else has it."""
        self._folder.prepare()
        self._open.enter_context(locked(self._data / "lock", wait=0, busy=f"another admin app uses {self._data}"))
        for run in self._folder.load():
            self._runs[run.id] = run
            if run.done:
                continue
            if process.alive(self._folder.lock(run.id)):
                self._watch(lambda run_id=run.id: self._await_release(run_id))  # type: ignore[misc]
            else:
                self._end(run.id, None)

    def close(self) -> None:
        """Let go of the folder and of everybody who follows; a run goes on without us."""
        self.stopping.set()
        self._open.close()

    # What there is

    def get(self, run_id: str) -> Run:
        run = self._runs.get(run_id) if is_id(run_id) else None
        if run is None:
            raise NoSuchRun("there is no such run", hint="GET /v1/deploys lists them", code="no_such_run")
        return run

    def all(self) -> list[Run]:
        """Newest first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: run.id, reverse=True)

    def active(self) -> Run | None:
        with self._lock:
            return next((run for run in self._runs.values() if not run.done), None)

    def events(self, run_id: str) -> list[Event]:
        """The events so far, without waiting."""
        return list(Tail(self._folder.events(self.get(run_id).id)).read())

    def entries(self, run_id: str) -> list[Any]:
        """The list that the run was given. NoSuchRun when it is not there any more."""
        try:
            found = json.loads(self._folder.slugs(self.get(run_id).id).read_text())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, list):
            raise NoSuchRun(f"the list of run {run_id} is not there", code="no_list")
        return found

    def follow(self, run_id: str, after: int = 0) -> Iterator[Event | None]:
        """Events after number ``after`` up to and including the result; None each time there was nothing to read.

        The result is held back until the run has let go of everything: who sees it can start the next run.
        """
        tail = Tail(self._folder.events(self.get(run_id).id))
        result: Event | None = None
        while True:
            done = self._is_done(run_id)
            if result is None:
                for event in tail.read():
                    if event["type"] == "result":
                        result = event
                        break
                    if event["seq"] > after:
                        yield event
            if done:
                if result is not None and result["seq"] > after:
                    yield result
                return
            yield None
            if self.stopping.wait(POLL):
                return

    # What can be done

    def start(self, request: Request) -> tuple[Run, bool]:
        """Start a run; the flag says that it is the run of an earlier request with the same Idempotency-Key."""
        with self._lock:
            if request.key:
                for run in self._runs.values():
                    if run.key == request.key:
                        if run.request != request.digest:
                            raise KeyReused(
                                "this Idempotency-Key belongs to another request",
                                hint="use a new key for a new request",
                                code="idempotency_key_reused",
                            )
                        return run, True
            holder = self.active()
            if holder is not None:
                raise RunBusy(holder)
            if request.plan:
                self._check_plan(request.plan)
            run = Run(
                id=new_id(),
                kind=request.kind,
                by=request.by,
                by_name=request.by_name,
                started=now(),
                slugs=request.slugs,
                key=request.key,
                request=request.digest,
            )
            self._audit.write("run.start", run.by, "accepted", run=run.id, kind=run.kind, slugs=list(run.slugs))
            self._runs[run.id] = run
            try:
                return self._launch(run, request), False
            except BaseException:
                self._runs.pop(run.id, None)
                self._folder.remove(run.id)
                raise

    def cancel(self, run_id: str, by: str) -> Run:
        """Interrupt a run, once; asking again changes nothing. NotCancellable when it has ended."""
        with self._lock:
            run = self.get(run_id)
            if run.done:
                raise NotCancellable(f"run {run.id} has ended: {run.outcome}", code="already_finished")
            if run.cancelled_by:
                return run
            self._audit.write("run.cancel", by, "accepted", run=run.id)
            self._update(replace(run, state="cancelling", cancelled_by=by))
            process.interrupt(run.pid, self._folder.lock(run.id))
            return self.get(run_id)

    # How it is done

    def _launch(self, run: Run, request: Request) -> Run:
        folder = self._folder
        folder.save(run)
        # The list goes into a file that only we can read: values of `env:` and slugs belong in no argv and no shell.
        slugs = folder.slugs(request.plan or run.id)
        entries = self.entries(request.plan) if request.plan else list(request.entries)
        write_atomic(folder.slugs(run.id), json.dumps(entries, indent=1) + "\n", mode=0o600)
        append(folder.events(run.id), {"type": "phase", "ts": run.started, "phase": "accepted", "run": run.id})
        argv = [*self._command, run.kind, "--file", str(slugs), "--events"]
        try:
            child = process.start(
                argv,
                cwd=self._cwd,
                events=folder.events(run.id),
                stderr=folder.stderr(run.id),
                lock=folder.lock(run.id),
                caller=run.by_name or run.by,
            )
        except OSError as err:
            self._end(run.id, int(Exit.FAILED), f"cannot start {self._command[0]}: {err.strerror}")
            return self._runs[run.id]
        self._update(replace(run, pid=child.pid))
        self._watch(lambda: self._end(run.id, child.wait()))
        return self._runs[run.id]

    def _check_plan(self, run_id: str) -> None:
        """Refuse to apply a plan that anything has happened since: what was approved is what must happen."""
        run = self.get(run_id)
        latest = max((each.id for each in self._runs.values()), default="")
        if run.kind != "plan" or run.outcome != "ok" or run.id != latest:
            raise StalePlan(
                f"run {run.id} is not the latest successful plan",
                hint="plan again (POST /v1/deploys with dry_run), look at it, and approve that one",
                code="stale_plan",
            )

    def _watch(self, target: Callable[[], None]) -> None:
        threading.Thread(target=target, name="run-watch", daemon=True).start()

    def _await_release(self, run_id: str) -> None:
        while process.alive(self._folder.lock(run_id)):
            if self.stopping.wait(POLL):
                return
        self._end(run_id, None)

    def _end(self, run_id: str, exit_code: int | None, reason: str = "") -> None:
        """Record how a run ended; when the command left no result, say so in its place."""
        with self._lock:
            run, events = self._runs[run_id], self._folder.events(run_id)
            result = result_of(events)
            if result is None:
                result = self._verdict(run, exit_code, reason)
                append(events, result)
            outcome = result.get("outcome")
            code = result.get("exit_code", exit_code)
            services = [item for item in result.get("services") or [] if isinstance(item, dict)]
            run = finish(
                run,
                outcome if isinstance(outcome, str) and outcome else "unknown",
                code if isinstance(code, int) else exit_code,
                services,
            )
            # First: who sees that the run has ended finds its end in the log.
            with contextlib.suppress(KarstError):
                self._audit.write("run.end", run.by, run.outcome, run=run.id, exit_code=run.exit_code)
            self._update(run)
            self._prune()

    def _verdict(self, run: Run, exit_code: int | None, reason: str) -> Event:
        """The result of a command that printed none: what its exit code says, and "unknown" when it says nothing."""
        if exit_code is None:
            outcome = "unknown"
            reason = "the command ended while the admin app was not there to see it, and left no result"
        elif exit_code < 0:
            outcome = "interrupted" if run.cancelled_by and exit_code == -2 else "unknown"
            reason = reason or f"the command was ended by signal {-exit_code}"
        else:
            outcome = _OUTCOME_OF_EXIT.get(exit_code, "failed")
            reason = reason or self._last_words(run.id) or f"the command ended with exit code {exit_code} and no result"
        return {
            "type": "result",
            "ts": now(),
            "outcome": outcome,
            "exit_code": int(Exit.UNKNOWN) if exit_code is None or exit_code < 0 else exit_code,
            "reason": reason,
            "services": [],
        }

    def _last_words(self, run_id: str) -> str:
        try:
            with self._folder.stderr(run_id).open("rb") as handle:
                handle.seek(max(0, os.fstat(handle.fileno()).st_size - _STDERR_TAIL))
                return handle.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _is_done(self, run_id: str) -> bool:
        run = self._runs.get(run_id)
        return run is None or run.done

    def _update(self, run: Run) -> None:
        self._runs[run.id] = run
        self._folder.save(run)

    def _prune(self) -> None:
        finished = sorted(run.id for run in self._runs.values() if run.done)
        for run_id in finished[: max(0, len(finished) - self._keep)]:
            del self._runs[run_id]
            self._folder.remove(run_id)


def wait_until_done(runs: Runs, run_id: str, seconds: float) -> Run:
    """Wait for the end of a run (for callers without a stream); returns it as it is after ``seconds`` at the latest."""
    deadline = time.monotonic() + seconds
    while not (run := runs.get(run_id)).done and time.monotonic() < deadline:
        if runs.stopping.wait(POLL):
            break
    return run
