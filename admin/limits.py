"""Limits: a rate of requests and a number of open streams per subject, and one answer for many who ask the same."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

_MAX_SUBJECTS = 4096


class RateLimit:
    """A token bucket per key: ``rate`` requests a second on average, ``burst`` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one; return 0, or the seconds until the next one is there."""
        now = self._clock()
        with self._lock:
            level, then = self._buckets.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - then) * self._rate)
            wait = 0.0 if level >= 1 else (1 - level) / self._rate
            self._buckets[key] = (level - 1 if wait == 0 else level, now)
            while len(self._buckets) > _MAX_SUBJECTS:
                self._buckets.popitem(last=False)
            return wait


class StreamLimit:
    """Open streams, in all and per subject. Each holds a thread, so ``total`` stays below the thread count."""

    def __init__(self, total: int, per_subject: int) -> None:
        self._total = total
        self._per_subject = per_subject
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def enter(self, subject: str) -> bool:
        with self._lock:
            if self._open.total() >= self._total or self._open[subject] >= self._per_subject:
                return False
            self._open[subject] += 1
            return True

    def leave(self, subject: str) -> None:
        with self._lock:
            self._open[subject] -= 1
            if self._open[subject] <= 0:
                del self._open[subject]

    @property
    def open(self) -> int:
        with self._lock:
            return self._open.total()


class Shared:
    """An answer that is made at most once every ``fresh`` seconds, by one caller for all.

    While it is made, others get the last one; when there is none they wait up to ``patience`` and get TimeoutError.
    """

    def __init__(self, *, fresh: float, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh = fresh
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._answer: tuple[float, Any] | None = None

    def get(self, make: Callable[[], Any]) -> Any:
        known = self._answer
        if known is not None and self._clock() - known[0] < self._fresh:
            return known[1]
        if not self._lock.acquire(timeout=0 if known is not None else self._patience):
            if known is None:
                raise TimeoutError
            return known[1]
        try:
            known = self._answer
            if known is None or self._clock() - known[0] >= self._fresh:
                self._answer = known = (self._clock(), make())
            return known[1]
        finally:
            self._lock.release()
