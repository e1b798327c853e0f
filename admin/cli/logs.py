"""`iac logs`: what the apps of a stack print, merged in the order of time, also over replacements."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import datetime

import click

from admin.cli.log_lines import Query, follow, past
from karst import containers, kept_logs
from karst.errors import UsageError
from karst.stack import Stack
from karst.terminal import neutral

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def show(
    stack: Stack,
    services: Sequence[str],
    *,
    following: bool,
    tail: int,
    since: str | None,
    grep: str | None,
    generation: str | None,
    previous: bool,
    timestamps: bool,
    as_json: bool,
    traces: bool,
) -> int:
    """Print the lines of the named services (default: all that are deployed); return the exit code."""
    if following and (previous or generation):
        raise UsageError("an older generation has nothing to follow", hint="leave out --follow", code="usage")
    if previous and generation:
        raise UsageError("--previous and --generation name two generations", hint="leave one out", code="usage")
    oldest, wanted_text = moment(since) if since else 0.0, pattern(grep) if grep else None
    with containers.engine() as docker:
        there = {m.service for m in containers.members(docker, stack.name) if m.role == "app"}
        containers.require(services, sorted(there | set(kept_logs.services(stack.log_dir))), stack.name)
        wanted = tuple(dict.fromkeys(services)) or tuple(sorted(there))
        width = max((len(name) for name in wanted), default=0)
        query = Query(wanted, tail, oldest, wanted_text, traces, generation or "", previous)
        for line in follow(docker, stack, query) if following else past(docker, stack, query):
            if as_json:
                fields = {"service": line.service, "ts": line.stamp, "msg": line.text}
                click.echo(json.dumps({**fields, "generation": line.generation, "revision": line.revision}))
            else:
                click.echo(f"{line.service:{width}} | {line.stamp + ' ' if timestamps else ''}{neutral(line.text)}")
    return 0


def moment(text: str) -> float:
    """``10m``, ``1h30m`` (ago), or a date and time (local without an offset), as seconds since the epoch."""
    if re.fullmatch(r"(\d+[smhdw])+", text):
        return time.time() - sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhdw])", text))
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"`{text[:40]}` is neither a length of time nor a date",
            hint="for example --since 10m, --since 1h30m, --since 2026-01-31T08:00:00Z",
            code="bad_since",
        ) from None


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression; UsageError when it is none."""
    try:
        return re.compile(text)
    except re.error as err:
        raise UsageError(
            f"`{text[:40]}` is no regular expression: {err}",
            hint="a backslash takes a character as it is",
            code="bad_grep",
        ) from None
