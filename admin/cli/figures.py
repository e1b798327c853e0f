"""`iac stats` and `iac graph`: what the sidecars counted, as tables, JSON or Graphviz."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from admin.cli import output
from karst import containers, graph, stats
from karst.containers import Member
from karst.errors import Exit, KarstError
from karst.stack import Stack
from karst.stats import Sample

WINDOW = 1.0  # seconds between the two looks that a rate needs
PERIOD = 5.0  # of --watch: Envoy adds up its times that often
_NONE = "no services are deployed; `iac deploy --file repos.yaml` deploys some"
_Looks = dict[str, Sample | None]


def show(stack: Stack, names: Sequence[str], *, as_json: bool, watch: bool) -> int:
    """Print the figures once, or until interrupted; exit 1 when a sidecar does not answer."""
    with containers.engine() as docker, ThreadPoolExecutor(max_workers=1) as pool:
        every = containers.deployed(containers.members(docker, stack.name))
        found = [m for m in every if m.role in ("pod", "app", "sidecar")]
        known = sorted({member.service for member in found})
        containers.require(names, known, stack.name)
        chosen = list(names) or known
        if not chosen and not as_json:
            click.echo(_NONE, err=True)
            return int(Exit.OK)
        before = stats.look(stack, _pods(chosen, found))
        while True:
            members = [m for m in containers.members(docker, stack.name) if m.state == "running"]
            # The engine takes a second for it, which the window lasts anyway.
            asked = pool.submit(stats.memory, docker, [m.id for m in members if m.role in ("app", "sidecar")])
            time.sleep((PERIOD if watch else WINDOW) if chosen else 0)
            now = stats.look(stack, _pods(chosen, members))
            used = asked.result()
            rows = [
                _row(name, now[name], before.get(name), _memory(name, members, used), recent=watch) for name in chosen
            ]
            _print(rows, as_json=as_json, watch=watch)
            if not watch:
                break
            before = now
    silent = [row["service"] for row in rows if not row["answers"]]
    if silent:
        raise KarstError(
            f"no figures from {', '.join(silent)}", hint="`iac health` says what is wrong", code="no_stats"
        )
    return int(Exit.OK)


def draw(stack: Stack, *, as_json: bool, as_dot: bool) -> int:
    """Print who may call whom, and who did."""
    found = graph.build(stack, window=WINDOW)
    if as_json:
        output.print_json(found)
    elif as_dot:
        sys.stdout.write(graph.dot(found))
    elif not found["nodes"]:
        click.echo(_NONE, err=True)
    else:
        _graph_tables(found)
    return int(Exit.OK)


def _row(
    name: str, now: Sample | None, before: Sample | None, memory: dict[str, Any], *, recent: bool
) -> dict[str, Any]:
    figures = stats.summary(now or Sample(), before if now else None, recent=recent)
    return {"service": name, "answers": now is not None, **figures, "memory": memory}


def _pods(names: Sequence[str], members: Sequence[Member]) -> dict[str, list[str]]:
    pods = stats.pods_of(members)
    return {name: pods.get(name, []) for name in names}


def _memory(name: str, members: Sequence[Member], used: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Of the newest generation, all its pods together: {app: {used, limit}, sidecar: …}."""
    own = [m for m in members if m.service == name and used.get(m.id)]
    found: dict[str, Any] = {}
    for member in own:
        if member.generation == own[0].generation:
            both = found.setdefault(member.role, {"used": 0, "limit": 0})
            for key in both:
                both[key] += used[member.id][key]
    return found


def _print(rows: list[dict[str, Any]], *, as_json: bool, watch: bool) -> None:
    if as_json and watch:
        print(json.dumps(rows), flush=True)
    elif as_json:
        output.print_json(rows)
    else:
        if watch and sys.stdout.isatty():
            click.clear()
        headers = ["SERVICE", "IN/S", "ERR", "P50", "P95", "P99", "OUT/S", "ERR", "P50", "P95", "P99"]
        headers += ["CONN", "TLS FAIL", "DENIED", "APP", "SIDECAR"]
        output.table(headers, [_cells(row) for row in rows])
        if watch:
            print(flush=True)


def _cells(row: dict[str, Any]) -> list[str]:
    if not row["answers"]:
        return [row["service"], *["-"] * 13, *(_mib(row["memory"].get(role)) for role in ("app", "sidecar"))]
    cells = [row["service"]]
    for side in ("inbound", "outbound"):
        flow = row[side]
        cells += [_number(flow["rate"]), str(flow["errors"]), *(_number(flow[f"p{n}_ms"]) for n in (50, 95, 99))]
    cells += [str(sum(row["connections"].values())), str(row["tls_failures"]), str(row["rbac_denied"])]
    return cells + [_mib(row["memory"].get(role)) for role in ("app", "sidecar")]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _mib(memory: dict[str, int] | None) -> str:
    return f"{memory['used'] / 2**20:.0f} MiB" if memory else "-"


def _graph_tables(found: dict[str, Any]) -> None:
    rules = [[node["id"], _who(node["allow"])] for node in found["nodes"] if node["kind"] == "service"]
    output.table(["SERVICE", "MAY BE CALLED BY"], rules)
    print()
    calls = [
        [
            *(edge["from"], edge["to"], "yes" if edge["may"] else "no", str(edge["requests"]), _number(edge["rate"])),
            *(str(edge["errors"]), str(edge["refused"]), _number(edge["p50_ms"]), _number(edge["p95_ms"])),
        ]
        for edge in found["edges"]
        if edge["did"]
    ]
    if calls:
        output.table(["CALLER", "CALLED", "MAY", "REQUESTS", "/S", "ERRORS", "REFUSED", "P50", "P95"], calls)
    else:
        print("nobody has called anybody since the sidecars started")


def _who(allow: Sequence[str]) -> str:
    words = ["every service" if name == "*" else "the front door" if name == "edge" else name for name in allow]
    return ", ".join(words) or "nobody"
