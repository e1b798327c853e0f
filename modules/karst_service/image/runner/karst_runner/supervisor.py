"""The main thread: starts the app, takes signals, reaps, starts it again, and keeps the board up to date.

Nothing here blocks: no write to stdout, no lock that is held during one, no request. So SIGTERM is acted upon at once,
whatever the app, the log or the network are doing.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping

from . import child
from .health import COMPLETED, FAILED, JOB, NOT_SERVING, SERVING, STARTING, STATUS_NAMES, UNDECIDED, Board
from .listeners import Owned, cpu_seconds, descendants, families
from .logs import RUNNER, STDERR, Pump, Ring
from .probe import Probe
from .reasons import Ending, exit_code, explain, oom_kills
from .settings import Settings
from .sockets import Listener, listening
from .verdict import Seen, choose_door, ephemeral, judge

STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
PASS_ON = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH})
HANDLED = STOP | PASS_ON | {signal.SIGCHLD}

LOOK_STARTING = 0.05
LOOK_SERVING = 1.0
QUIET_STEP = 1.0
QUIET_SHARE = 0.05  # of one processor
WAIT = 0.2
SETTLE = 0.2
REASON_LINES = 40


def block_signals() -> None:
    """Leave every handled signal to `run`; to be called before the first thread, since threads inherit the mask."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


class Supervisor:
    """One app, from its first start to the end of the container."""

    def __init__(self, settings: Settings, env: Mapping[str, str], board: Board, ring: Ring, pump: Pump) -> None:
        self._settings = settings
        self._env = env
        self._board = board
        self._ring = ring
        self._pump = pump
        self._wanted = int(env.get("PORT", "0")) if env.get("PORT", "0").isdecimal() else 0
        self._pid = 0  # of the app's first process, or of its heir; 0 while none runs
        self._started = 0.0
        self._first_line = 0
        self._failures = 0
        self._waiting = False
        self._retry_at: float | None = None
        self._leave_at: float | None = None
        self._kill_at: float | None = None
        self._stopping = False
        self._last_code = 0
        self._look_at = 0.0
        self._oom_kills = oom_kills()
        self._forget_app()

    def _forget_app(self) -> None:
        self._listeners: list[Listener] = []
        self._owned = Owned(os.getpid(), kit_ports=self._settings.kit_ports)
        self._probe = Probe(self._settings.health)
        self._was_serving = False
        self._port = 0
        self._had_door = False
        self._inherited = False
        self._cpu = (0.0, 0.0)  # (when, seconds used)
        self._quiet_since: float | None = None

    def run(self) -> int:
        """Supervise until there is nothing left to do; returns the exit code of the container."""
        child.become_reaper()
        self._start()
        while True:
            timeout = max(0.0, self._next() - time.monotonic())
            got = signal.sigtimedwait(HANDLED, timeout)
            if got is not None:
                self._on_signal(signal.Signals(got.si_signo))
            code = self._turn(time.monotonic())
            if code is not None:
                return code

    def _next(self) -> float:
        """When to look again if no signal comes."""
        times = [at for at in (self._retry_at, self._leave_at, self._kill_at) if at is not None]
        if self._pid and not self._stopping:
            times.append(self._look_at)
        return min(times, default=time.monotonic() + 3600.0)

    def _turn(self, now: float) -> int | None:
        """Do what is due; returns an exit code when the container is to end."""
        ended, _ = child.reap()
        for pid, status in ended:
            if pid == self._pid:
                self._on_end(exit_code(status), now)
        if self._stopping:
            if not self._pid:
                return self._last_code
            if self._kill_at is not None and now >= self._kill_at:
                self._kill_at = None
                self._pump.say(f"still running {self._settings.stop_grace:g} s after it was told to stop: killed")
                child.signal_group(self._pid, signal.SIGKILL)
            return None
        if self._leave_at is not None and now >= self._leave_at:
            return self._last_code or 1
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if not self._waiting:
                self._board.update(restarts=self._board.health.restarts + 1)
            self._start()
        elif self._pid and now >= self._look_at:
            self._look(now)
        return None

    # --------------------------------------------------------------------------------------------- start and end
    def _start(self) -> None:
        self._forget_app()
        self._first_line = self._ring.last
        self._started = time.monotonic()
        self._look_at = self._started + LOOK_STARTING
        waited = self._waiting
        self._waiting = bool(self._settings.wait_for) and not os.path.exists(self._settings.wait_for)
        if self._waiting:
            # Without them it would fail, or do something else than it was asked to.
            reason = "waits for its secrets, which `iac heal` delivers"
            self._set(STARTING, reason, kind=UNDECIDED, app_port=0)
            if not waited:
                self._pump.say(reason)
            self._retry_at = self._started + WAIT
            return
        self._set(STARTING, "is starting", kind=UNDECIDED, app_port=0)
        try:
            self._pid = child.spawn(self._settings.argv, self._env, self._pump.stdout, self._pump.stderr)
        except OSError as error:
            self._last_code = 126 if isinstance(error, PermissionError) else 127  # as a shell would say it
            self._set(FAILED, child.cannot_start(self._settings.argv, error), exit_code=self._last_code)

    def _on_end(self, code: int, now: float) -> None:
        self._pid = 0
        if code == 0 and not self._stopping and self._inherit():
            return
        self._last_code = code
        child.sweep()
        if self._stopping:
            # 143 is what everybody expects of a process that SIGTERM ended; an app that caught it and left says 0.
            self._pump.say(f"stopped with exit code {code}")
            return
        self._pump.settle(SETTLE)
        self._take_a_look()
        kills, self._oom_kills = self._oom_kills, oom_kills()
        if self._inherited and not self._had_door:
            code = 0  # a job is as good as its first process was, however its helpers go
        ending = explain(
            code, self._last_words(), out_of_memory=self._oom_kills > kills, kit_ports=self._settings.kit_ports
        )
        if code == 0 and not self._had_door:
            self._set(COMPLETED, ending.reason, exit_code=0, kind=JOB, app_port=0)
        elif ending.permanent and code != 0 and not self._was_serving:
            self._set(FAILED, ending.reason, exit_code=code)
        else:
            self._try_again(ending, now)

    def _inherit(self) -> bool:
        """A launcher, or a daemon's first process, ends well and leaves others behind: then they are the app."""
        heirs = sorted(families().get(os.getpid(), []))
        if heirs:
            self._pid = heirs[0]
            self._inherited = True
        return bool(heirs)

    def _try_again(self, ending: Ending, now: float) -> None:
        settings = self._settings
        if now - self._started >= settings.forgive_after:
            self._failures = 0
        reason = ending.reason or "ended by itself with exit code 0, though it was a server"
        if self._failures >= settings.tries:
            reason = f"{reason} (given up after {self._failures + 1} tries)"
            self._set(FAILED, reason, exit_code=ending.code)
            # Keep answering for a while: the reason is worth more than a quick exit. Then Docker's restart policy
            # takes over, because what was missing (a database, a name) may be there in a few minutes.
            self._leave_at = now + settings.linger
            return
        delay = min(settings.backoff * 2**self._failures, settings.backoff_max)
        self._failures += 1
        self._retry_at = now + delay
        self._set(NOT_SERVING, f"{reason} (starts again in {delay:g} s)", exit_code=ending.code)

    def _last_words(self) -> list[str]:
        """The last lines of this try: of stderr if it said anything there, else of stdout."""
        lines, _ = self._ring.after(max(self._first_line, self._ring.tail(REASON_LINES)), REASON_LINES)
        lines = [line for line in lines if line.stream != RUNNER]
        chosen = [line for line in lines if line.stream == STDERR] or lines
        return [line.text.decode("utf-8", "replace") for line in chosen]

    # ------------------------------------------------------------------------------------------------------ signals
    def _on_signal(self, number: signal.Signals) -> None:
        if number in STOP:
            self._stop(number)
        elif number in PASS_ON and self._pid:
            child.signal_one(self._pid, number)

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._retry_at = self._leave_at = None
        if not self._pid:
            self._last_code = 0
            return
        self._kill_at = time.monotonic() + self._settings.stop_grace
        child.signal_group(self._pid, number)
        self._set(NOT_SERVING, f"is stopping ({number.name})")

    # -------------------------------------------------------------------------------------------------- observation
    def _look(self, now: float) -> None:
        self._take_a_look()
        seen = Seen(
            uptime=now - self._started,
            listeners=self._listeners,
            quiet=self._is_quiet(now),
            probe=self._probe.result,
            was_serving=self._was_serving,
            port=self._port,
        )
        door = choose_door(self._settings, self._wanted, seen)
        if self._settings.health and door is not None:
            self._probe.ask(door.host, door.port, now)
        verdict = judge(self._settings, self._wanted, seen)
        self._port = verdict.port or self._port
        self._was_serving = self._was_serving or verdict.status == SERVING
        self._set(verdict.status, verdict.reason, kind=verdict.kind, app_port=verdict.port)
        self._look_at = now + (LOOK_SERVING if verdict.status == SERVING else LOOK_STARTING)

    def _take_a_look(self) -> None:
        """Bring the list of the app's listeners up to date."""
        self._listeners = self._owned.among(listening())
        lasting = time.monotonic() - self._started >= self._settings.stable_after
        if lasting and any(one.port == self._wanted or not ephemeral(one.port) for one in self._listeners):
            self._had_door = True

    def _is_quiet(self, now: float) -> bool:
        """Whether the app has hardly used a processor for a while: then it is not still importing."""
        span = self._settings.quiet_for
        when, used = self._cpu
        if self._listeners:
            return False
        if now - when < min(QUIET_STEP, span / 3):
            return self._quiet_since is not None and now - self._quiet_since >= span
        total = cpu_seconds(descendants(os.getpid()))
        busy = when == 0.0 or (total - used) / (now - when) > QUIET_SHARE
        self._cpu = (now, total)
        if busy:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = when
        return self._quiet_since is not None and now - self._quiet_since >= span

    def _set(self, status: int, reason: str, **more: object) -> None:
        if self._board.update(status=status, reason=reason, **more):
            port = self._board.health.app_port
            where = f" on port {port}" if status == SERVING and port else ""
            self._pump.say(STATUS_NAMES[status] + where + (f": {reason}" if reason else ""))
