"""A run of an admin app, started once and watched to its end, over as many connections as that takes."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import click

from admin.cli import output
from admin.cli.remote.client import Client, Cut
from karst.errors import Exit, KarstError
from karst.events import Event, ndjson
from karst.probe import Health

# Without one event for this long, over all tries, the outcome counts as unknown.
PATIENCE = 120.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


def start(client: Client, body: dict[str, Any], *, wait: float) -> str:
    """Start a run; its id. A try that was cut off is made again with the same key, and finds the run it had started."""
    key, deadline, told = uuid.uuid4().hex, time.monotonic() + wait, False
    cuts = 0
    while True:
        try:
            return str(client.post("/v1/deploys", body, **{"Idempotency-Key": key})["id"])
        except Cut:
            cuts += 1
            if cuts > len(_PAUSES):
                raise
            time.sleep(_PAUSES[cuts - 1])
        except KarstError as err:
            if err.exit_code != Exit.BUSY or time.monotonic() >= deadline:
                raise
            if not told:
                told = True
                click.echo(f"   waiting up to {wait:g} s: {err.message}", err=True)
            time.sleep(min(1.0, max(0.1, deadline - time.monotonic())))


def events(client: Client, run: str, after: int = 0) -> Iterator[Event]:
    """Events after number ``after``, to the result; a broken connection is made again where it broke.

    KarstError with exit code 6 when the connection cannot be had again.
    """
    seen, cuts, last = after, 0, time.monotonic()
    while True:
        try:
            for event in client.lines(f"/v1/deploys/{run}/events", after=seen):
                cuts, last = 0, time.monotonic()
                if event.get("type") == "heartbeat":
                    continue
                seen = max(seen, int(event.get("seq", 0)))
                yield event
                if event["type"] == "result":
                    return
        except Cut:
            pass
        except KarstError as err:
            if err.code not in ("too_many_streams", "too_many_requests", "auth_server_unreachable", "engine_slow"):
                raise
        if time.monotonic() - last > PATIENCE:
            raise KarstError(
                f"the connection to {client.target.name} is lost, and what becomes of run {run} is not known",
                hint=f"the run goes on without it: `iac {client.target.option} runs {run}`",
                code="unknown",
                exit_code=Exit.UNKNOWN,
            )
        time.sleep(_PAUSES[min(cuts, len(_PAUSES) - 1)])
        cuts += 1


def show(
    client: Client,
    run: str,
    *,
    as_events: bool,
    as_json: bool = False,
    table: bool = True,
    after: int = 0,
    each: Callable[[Event], None] = lambda _event: None,
) -> int:
    """Relay the run to its end; the exit code of its result. Ctrl-C leaves the run alone.

    ``as_json`` prints the result, else ``table`` the services' health.
    """
    sink = ndjson(sys.stdout) if as_events else output.human()
    if not as_events:
        click.echo(f"   run {run} at {client.target.name}", err=True)
    result: Event = {}
    try:
        for event in events(client, run, after):
            each(event)
            if event["type"] == "result":
                result = event
            if as_events or event.get("phase") != "accepted":
                # A newer or older server may tell in other fields than this command knows.
                with contextlib.suppress(KeyError, TypeError, AttributeError):
                    sink(event)
    except KeyboardInterrupt:
        raise KarstError(
            f"run {run} goes on at {client.target.name}",
            hint=f"`iac {client.target.option} cancel {run}` stops it, `… runs {run}` shows it",
            code="left",
            exit_code=Exit.UNKNOWN,
        ) from None
    return _end(result, as_events=as_events, as_json=as_json, table=table)


def _end(result: Event, *, as_events: bool, as_json: bool, table: bool) -> int:
    code = result.get("exit_code")
    code = code if isinstance(code, int) else int(Exit.UNKNOWN)
    if as_events:
        return code
    if as_json:
        output.print_json(result)
    elif table and (rows := health(result.get("services") or [])):
        output.health_table(rows)
    if code:
        error = result.get("error") or {}
        message = error.get("message") or result.get("reason") or f"the run ended: {result.get('outcome')}"
        raise KarstError(str(message), hint=str(error.get("hint") or ""), code="run_failed", exit_code=_exit(code))
    return code


def health(rows: list[dict[str, Any]]) -> list[Health]:
    """Rows of the API as health answers; what a newer server adds is left out."""
    known = {each.name for each in fields(Health)}
    return [
        Health(**{"status": "UNKNOWN", **{k: v for k, v in row.items() if k in known}})
        for row in rows
        if isinstance(row.get("service"), str)
    ]


def _exit(code: int) -> Exit:
    try:
        return Exit(code)
    except ValueError:
        return Exit.FAILED
