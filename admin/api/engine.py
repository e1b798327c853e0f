"""Questions to the Docker engine and to the services behind it: few at once, and one answer for many alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from admin.context import Context
from admin.limits import Shared
from admin.problems import Problem


@contextlib.contextmanager
def engine(ctx: Context) -> Iterator[None]:
    """One of the few questions that may be under way at once; Problem 503 when the engine is too slow."""
    if not ctx.engine.acquire(timeout=1.0):
        raise _slow()
    try:
        yield
    finally:
        ctx.engine.release()


def shared(ctx: Context, answer: Shared, make: Callable[[], Any]) -> Any:
    """What ``make`` says, or said a moment ago; Problem 503 for who waits too long for the first answer."""

    def ask() -> Any:
        with engine(ctx):
            return make()

    try:
        return answer.get(ask)
    except TimeoutError:
        raise _slow() from None


def _slow() -> Problem:
    return Problem(
        503, "engine_slow", "the Docker engine is too slow to answer everybody", headers={"Retry-After": "5"}
    )
