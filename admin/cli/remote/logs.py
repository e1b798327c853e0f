"""`iac logs` through an admin app: the same lines, chosen here, followed over broken connections."""

from __future__ import annotations

import heapq
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from admin.cli.logs import moment, pattern
from admin.cli.remote.client import Client, Cut
from admin.cli.remote.watch import PATIENCE
from karst import containers
from karst.terminal import neutral

MOST = 10_000
Line = dict[str, str]


def show(
    client: Client,
    services: Sequence[str],
    *,
    following: bool,
    tail: int,
    since: str | None,
    grep: str | None,
    timestamps: bool,
    as_json: bool,
) -> int:
    """Print the lines of the named services (default: all); return the exit code."""
    oldest, wanted = moment(since) if since else 0.0, pattern(grep) if grep else None
    there = [row["service"] for row in client.get("/v1/services")["services"]]
    containers.require(services, there, client.target.name)
    width = max((len(name) for name in services or there), default=0)

    def chosen(line: Line) -> bool:
        return (
            (not services or line["service"] in services)
            and (not oldest or _seconds(line["ts"]) >= oldest)
            and (wanted is None or wanted.search(line["msg"]) is not None)
        )

    # What is chosen here has to be asked for whole.
    asked = MOST if since or grep else tail
    last: dict[str, str] = {}
    for line in _past(client, services or there, asked, tail, chosen):
        last[line["service"]] = max(line["ts"], last.get(line["service"], ""))
        _print(line, width, timestamps, as_json)
    if following:
        for line in _coming(client, last):
            if chosen(line):
                _print(line, width, timestamps, as_json)
    return 0


def _past(client: Client, services: Sequence[str], asked: int, tail: int, chosen: Any) -> Iterator[Line]:
    found = []
    for service in services:
        kept = deque(filter(chosen, client.lines(f"/v1/services/{service}/logs", tail=asked)), maxlen=tail)
        found.append(sorted(kept, key=lambda line: line["ts"]))
    yield from heapq.merge(*found, key=lambda line: line["ts"])


def _coming(client: Client, last: dict[str, str]) -> Iterator[Line]:
    """New lines, over as many connections as it takes: what was shown already is left out."""
    heard = time.monotonic()
    while True:
        try:
            for line in client.lines("/v1/logs", follow="true", tail=1000):
                heard = time.monotonic()
                if line.get("type") == "heartbeat" or line["ts"] <= last.get(line["service"], ""):
                    continue
                last[line["service"]] = line["ts"]
                yield line
        except Cut:
            if time.monotonic() - heard > PATIENCE:
                raise
        time.sleep(0.5)


def _print(line: Line, width: int, timestamps: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(line))
    else:
        stamp = f"{line['ts']} " if timestamps else ""
        click.echo(f"{line['service']:{width}} | {stamp}{neutral(line['msg'])}")


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00").timestamp()
    except ValueError:
        return 0.0
