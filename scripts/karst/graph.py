"""Who may call whom, by the labels of what is deployed, and who did, by what the sidecars counted.

Plain data throughout:

nodes  {id, kind, allow}: kind is `service`, `edge` (the front door), `tool` (another identity of the kit), or
       `unknown` (a name that was called and is no service of the stack)
edges  {from, to, may, why, did, requests, errors, refused, rate, error_rate, p50_ms, p95_ms, p99_ms}: why is
       `default` (no `allow:`), `allow`, `expose` or ""; rates are per second and None without two looks
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from karst import containers, stats
from karst.containers import Member
from karst.stack import Stack
from karst.stats import Sample, Traffic

EDGE = "edge"
_ANY = "*"


def build(stack: Stack, *, window: float = 1.0) -> dict[str, Any]:
    """The graph of a stack, with rates over ``window`` seconds (0: none, and no waiting)."""
    with containers.engine() as docker:
        found = [m for m in containers.members(docker, stack.name) if m.role == "pod"]
    rules, pods = rules_of(found), stats.pods_of(found)
    before = stats.look(stack, pods) if window > 0 else {}
    time.sleep(window if rules else 0)
    return draw(rules, before, stats.look(stack, pods)) | {"stack": stack.name}


def rules_of(pods: Sequence[Member]) -> dict[str, list[str]]:
    """Service → who may call it: names, `edge`, `*` for every service. Of ``pods``, newest first, the newest count."""
    rules: dict[str, list[str]] = {}
    for pod in pods:
        rules.setdefault(pod.service, list(pod.allow))
    return dict(sorted(rules.items()))


def draw(
    rules: Mapping[str, Sequence[str]],
    before: Mapping[str, Sample | None],
    now: Mapping[str, Sample | None],
) -> dict[str, Any]:
    """The graph of two looks at the sidecars (``before`` may be empty: then there are no rates)."""
    seen, earlier = _seen(now), _seen(before)
    # The caller's own count is preferred: only it knows of calls that never arrived.
    did = {(caller, name): side for side in ("served", "called") for kind, caller, name in seen if kind == side}
    may = {
        (caller, name): why
        for name, callers in rules.items()
        for caller, why in _callers(name, callers, list(rules)).items()
    }
    kinds = dict.fromkeys(rules, "service")
    for pair in [*may, *did]:
        for name in pair:
            kinds.setdefault(name, EDGE if name == EDGE else "tool" if name.startswith("ops/") else "unknown")
    nodes = [{"id": name, "kind": kind, "allow": list(rules.get(name, []))} for name, kind in sorted(kinds.items())]
    edges = [
        _edge(pair, may.get(pair, ""), (did.get(pair, ""), *pair), seen, earlier, before)
        for pair in sorted(may.keys() | did.keys())
    ]
    return {"nodes": nodes, "edges": edges}


def _callers(name: str, callers: Sequence[str], services: Sequence[str]) -> dict[str, str]:
    """Caller → why it may call ``name``. A service calling itself is left out of `*`: few do, and it is no news."""
    may = {other: "default" for other in services if other != name} if _ANY in callers else {}
    for caller in callers:
        if caller == EDGE:
            may[EDGE] = "expose"
        elif caller != _ANY:
            may["ops/operator" if caller == "operator" else caller] = "allow"
    return may


# (`served` or `called`, caller, called) → its traffic, and when that was looked at
_Key = tuple[str, str, str]
_Seen = dict[_Key, tuple[Traffic, float]]


def _seen(samples: Mapping[str, Sample | None]) -> _Seen:
    seen: _Seen = {}
    for name, sample in samples.items():
        for uri, traffic in (sample.served if sample else {}).items():
            if sample and (caller := _caller(uri)):
                seen["served", caller, name] = (traffic, sample.at)
        for to, traffic in (sample.called if sample else {}).items():
            if sample:
                seen["called", name, to] = (traffic, sample.at)
    return seen


def _caller(uri: str) -> str:
    """spiffe://karst.local/svc/web → web; …/ops/edge → edge; …/ops/operator → ops/operator; "" for anything else."""
    _, _, rest = uri.removeprefix("spiffe://").partition("/")
    kind, _, name = rest.partition("/")
    if not name:
        return ""
    return name if kind == "svc" or (kind, name) == ("ops", EDGE) else f"{kind}/{name}"


def _edge(
    pair: tuple[str, str], why: str, key: _Key, now: _Seen, before: _Seen, looks: Mapping[str, Sample | None]
) -> dict[str, Any]:
    caller, name = pair
    traffic, at = now.get(key, (Traffic(), 0.0))
    # Counted by whom, and was that one looked at before? A pair that was not there then began at 0.
    look = looks.get(name if key[0] == "served" else caller)
    first, since = before.get(key, (Traffic(), look.at if look else 0.0))
    known = look is not None and key in now and traffic.requests >= first.requests
    figures = stats.flow(traffic, traffic - first if known else None, at - since)
    return {"from": caller, "to": name, "may": bool(why), "why": why, "did": traffic.requests > 0, **figures}


def dot(graph: Mapping[str, Any]) -> str:
    """The graph in Graphviz's language: dashed may but did not, red was refused or is not allowed."""
    lines = ["digraph karst {", "  rankdir=LR;", "  node [shape=box];"]
    shapes = {"service": "box", EDGE: "house", "tool": "note", "unknown": "box"}
    for node in graph["nodes"]:
        style = ', style=dashed, color="red"' if node["kind"] == "unknown" else ""
        lines.append(f'  "{node["id"]}" [shape={shapes[node["kind"]]}{style}];')
    for edge in graph["edges"]:
        look = ['style="dashed"'] if not edge["did"] else []
        if edge["did"] and (not edge["may"] or edge["errors"] or edge["refused"]):
            look.append('color="red"')
        if edge["did"]:
            rate = "" if edge["rate"] is None else f"{edge['rate']:g}/s "
            errors = edge["errors"] + edge["refused"]
            label = f"{rate}{edge['requests']} requests" + (f", {errors} failed" if errors else "")
            look.append(f'label="{label}"')
        lines.append(f'  "{edge["from"]}" -> "{edge["to"]}" [{", ".join(look)}];')
    return "\n".join([*lines, "}"]) + "\n"
