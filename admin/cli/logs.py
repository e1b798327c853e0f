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
from karst.stack import Stack

POLL_SECONDS = 1.0


def show(
    stack: Stack, services: list[str], *, follow: bool, lines: int, timestamps: bool, as_json: bool, traces: bool
) -> int:
    """Print the lines of the named services (default: all); return the exit code.

    ``traces``: also the spans, which share the container's stdout with what the app prints.
    """
    with containers.engine() as docker:
        known = sorted({m.service for m in containers.members(docker, stack.name) if m.role == "app"})
        containers.require(services, known, stack.name)
        wanted = services or known
        width = max((len(name) for name in wanted), default=0)
        source = _follow if follow else _past
        for service, stamp, text in source(docker, stack, wanted, lines, traces):
            if as_json:
                click.echo(json.dumps({"service": service, "ts": stamp, "msg": text}))
            else:
                click.echo(f"{service:{width}} | {stamp + ' ' if timestamps else ''}{text}")
    return 0


# How OTLP/JSON lines begin; the runner writes them without spaces.
_SPANS = '{"resourceSpans":'

Line = tuple[str, str, str]


def _past(docker: Any, stack: Stack, services: list[str], lines: int, traces: bool) -> Iterator[Line]:
    streams = []
    # Docker counts spans as lines: enough of them are asked for that `lines` others are among them, most likely.
    asked = lines if traces else 20 * lines
    for service in services:
        found: list[tuple[str, str]] = []
        for app in (m for m in containers.members(docker, stack.name, service) if m.role == "app"):
            raw = docker.api.logs(app.id, timestamps=True, tail=asked, stdout=True, stderr=True)
            found += [_split(line) for line in raw.decode("utf-8", "replace").splitlines()]
        shown = [(stamp, service, text) for stamp, text in sorted(found) if traces or not text.startswith(_SPANS)]
        streams.append(shown[-lines:] if lines else [])
    for stamp, service, text in heapq.merge(*streams):
        yield service, stamp, text


def _follow(docker: Any, stack: Stack, services: list[str], lines: int, traces: bool) -> Iterator[Line]:
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
                line = incoming.get(timeout=left)
                if traces or not line[2].startswith(_SPANS):
                    yield line
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
