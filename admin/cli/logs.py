"""`iac logs`: what the apps of a stack print, merged in the order of time, also over replacements."""

from __future__ import annotations

import heapq
import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import click

from karst import containers
from karst.errors import UsageError, did_you_mean
from karst.stack import Stack

POLL_SECONDS = 1.0


def show(stack: Stack, services: list[str], *, follow: bool, lines: int, timestamps: bool, as_json: bool) -> int:
    """Print the lines of the named services (default: all); return the exit code."""
    with containers.engine() as docker:
        known = sorted({m.service for m in containers.members(docker, stack.name) if m.role == "app"})
        for name in services:
            if name not in known:
                raise UsageError(
                    f"stack `{stack.name}` has no service `{name}`",
                    hint=did_you_mean(name, known) or f"it has: {', '.join(known) or 'none'}",
                    code="unknown_service",
                )
        wanted = services or known
        width = max((len(name) for name in wanted), default=0)
        for service, stamp, text in (
            _follow(docker, stack, wanted, lines) if follow else _past(docker, stack, wanted, lines)
        ):
            if as_json:
                click.echo(json.dumps({"service": service, "ts": stamp, "msg": text}))
            else:
                click.echo(f"{service:{width}} | {stamp + ' ' if timestamps else ''}{text}")
    return 0


Line = tuple[str, str, str]


def _past(docker: Any, stack: Stack, services: list[str], lines: int) -> Iterator[Line]:
    streams = []
    for service in services:
        found: list[tuple[str, str]] = []
        for app in (m for m in containers.members(docker, stack.name, service) if m.role == "app"):
            raw = docker.api.logs(app.id, timestamps=True, tail=lines, stdout=True, stderr=True)
            found += [_split(line) for line in raw.decode("utf-8", "replace").splitlines()]
        streams.append([(stamp, service, text) for stamp, text in sorted(found)[-lines:]])
    for stamp, service, text in heapq.merge(*streams):
        yield service, stamp, text


def _follow(docker: Any, stack: Stack, services: list[str], lines: int) -> Iterator[Line]:
    """Follow every app container of the services, and those that come later."""
    incoming: queue.Queue[Line] = queue.Queue(maxsize=10_000)
    followed: set[str] = set()
    first = True
    while True:
        for app in containers.members(docker, stack.name):
            if app.role == "app" and app.service in services and app.id not in followed:
                followed.add(app.id)
                tail = lines if first else "all"
                threading.Thread(target=_pump, args=(app, tail, incoming), daemon=True).start()
        first = False
        until = time.monotonic() + POLL_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                yield incoming.get(timeout=left)
            except queue.Empty:
                break


def _pump(app: containers.Member, tail: int | str, incoming: queue.Queue[Line]) -> None:
    with containers.engine() as connection:  # a connection of its own: a followed stream blocks it
        rest = b""
        for chunk in connection.api.logs(app.id, stream=True, follow=True, timestamps=True, tail=tail):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                stamp, text = _split(line.decode("utf-8", "replace"))
                incoming.put((app.service, stamp, text))


def _split(line: str) -> tuple[str, str]:
    stamp, _, text = line.partition(" ")
    return stamp, text
