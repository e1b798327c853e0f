"""Query parameters, strictly: known names, each once, each of its form."""

from __future__ import annotations

from collections.abc import Iterable

from flask import request

from admin.problems import Problem
from karst.errors import did_you_mean


def known(names: Iterable[str]) -> None:
    """Problem 400 for a parameter that this route does not have, or that is there twice."""
    wanted = list(names)
    for name, values in request.args.lists():
        if name not in wanted:
            hint = did_you_mean(name, wanted) or f"known are: {', '.join(wanted) or 'none'}"
            raise Problem(400, "unknown_parameter", f"this route has no parameter {name[:60]!r}", hint=hint)
        if len(values) > 1:
            raise Problem(400, "bad_parameter", f"the parameter {name!r} is there more than once")


def number(name: str, default: int, *, least: int, most: int, text: str | None = None) -> int:
    """A whole number within bounds."""
    raw = request.args.get(name) if text is None else text
    if raw is None:
        return default
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 10 and least <= int(raw) <= most):
        raise Problem(400, "bad_parameter", f"`{name}` is a whole number from {least} to {most}")
    return int(raw)


def flag(name: str) -> bool:
    raw = request.args.get(name)
    if raw not in (None, "true", "false", "1", "0"):
        raise Problem(400, "bad_parameter", f"`{name}` is true or false")
    return raw in ("true", "1")
