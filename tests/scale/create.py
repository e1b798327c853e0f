"""A stack of a given size really created, looked at from all sides, changed, and destroyed."""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from karst import containers, stats
from karst.identity.store import CONTAINER_UID
from tests.scale import host, results, services, steps
from tests.support.kit import Kit

SETTLE_SECONDS = 20.0
LOOKUPS = (
    "import socket, sys, time\n"
    "for name in sys.argv[1:]:\n"
    "    at = time.perf_counter(); socket.getaddrinfo(name, 15000); print(1000 * (time.perf_counter() - at))\n"
)


def run(count: int, clock: steps.Clock | None = None) -> Iterator[dict[str, Any]]:
    """Create ``count`` services; give times, sizes, and how much of each thing they took, after each step anew.

    What is not done in its time is given up and noted as that; the stack is removed in any case.
    """
    with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
        env = services.cache_of(Path(folder) / "cache") | {"KARST_GATE_TIMEOUT": "300"}
        kit = Kit(Path(folder) / "stack", env=env)
        services.write(kit, count)
        try:
            yield from _measure(kit, count, clock or steps.Clock())
        finally:
            steps.clear(kit)


def _measure(kit: Kit, count: int, clock: steps.Clock) -> Iterator[dict[str, Any]]:
    before, engine = host.used(), host.engine_memory_mib()
    result: dict[str, Any] = {"name": f"create {count}", "services": count, **results.stamp(), "seconds": {}}
    with host.Peak("terraform") as peak:
        deployed = deploy(kit, result, "deploy", clock.allows(LIMITS["deploy"]))
    result["terraform_mib"] = round(peak.mib)
    yield result
    if deployed:
        time.sleep(SETTLE_SECONDS)  # what starts up uses more of everything
        after = host.used()
        taken = {key: after[key] - before[key] for key in after}
        taken["engine_mib"] = round(host.engine_memory_mib() - engine)
        inside = _inside(kit)
        result |= {"taken": taken | inside.pop("of_containers"), "limits": host.limits(), **inside}
        result["bytes"] = _sizes(kit)
        yield result
        for name, arguments in COMMANDS.items():
            steps.note(result, name, steps.run(kit, *arguments, limit=clock.allows(LIMITS[name])))
            yield result
        services.write_app(kit, 1, version=2)
        deploy(kit, result, "deploy of one change", clock.allows(LIMITS["deploy of one change"]))
        yield result
        if fits_twice(after["memory_mib"] - before["memory_mib"]):
            kit.env["KARST_LOG_MEGABYTES"] = "31"  # part of what every generation is made of
            with host.Peak("terraform") as peak:
                deploy(kit, result, "deploy of all changed", clock.allows(LIMITS["deploy of all changed"]))
            result["replaced"] = {"terraform_mib": round(peak.mib), "memory_mib": peak.host_mib - before["memory_mib"]}
    steps.note(result, "destroy", steps.run(kit, "destroy", "--yes", limit=clock.allows(LIMITS["destroy"])))
    yield result


COMMANDS = {
    "health": ("health",),
    "drift": ("drift",),
    "deploy of no change": ("deploy", "--file", "repos.yaml"),
    "plan of no change": ("plan", "--file", "repos.yaml", "--detailed-exitcode"),
}
LIMITS = {
    "deploy": 900.0,
    "health": 60.0,
    "drift": 60.0,
    "deploy of no change": 120.0,
    "plan of no change": 240.0,
    "deploy of one change": 240.0,
    "deploy of all changed": 600.0,
    "destroy": 400.0,
}


def fits_twice(mebibytes: int) -> bool:
    """Whether the host has as much memory again for a second generation of all services, and a fifth to spare."""
    return 1.2 * mebibytes < host.meminfo()["MemAvailable"] / 1024


def deploy(kit: Kit, result: dict[str, Any], name: str, limit: float) -> bool:
    """Deploy the list and note the seconds of it, of a first one those of its phases, too; whether it succeeded.

    `images` is the part of the apply before the first pod begins.
    """
    step = steps.run(kit, "deploy", "--file", str(kit.list_file), "--events", limit=limit)
    events = step.events
    wrong = [event for event in events if event["type"] == "result" and event.get("error")]
    words = wrong[0]["error"]["message"] if wrong else step.err
    steps.note(result, name, dataclasses.replace(step, out="", err=words))
    if name == "deploy":
        result["seconds"] |= {f"deploy: {phase}": took for phase, took in phases(events).items()}
    return step.code == 0


def phases(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of each phase of a deploy that ended, from its events."""
    found = {one["phase"]: one["seconds"] for one in events if one["type"] == "phase" and one["state"] == "done"}
    begins = [
        one["ts"] for one in events if one["type"] == "phase" and (one["phase"], one["state"]) == ("apply", "start")
    ]
    pods = [one["ts"] for one in events if one["type"] == "service" and (one["step"], one["state"]) == ("pod", "start")]
    if begins and pods:
        found["images"] = round((_time(pods[0]) - _time(begins[0])).total_seconds(), 1)
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _inside(kit: Kit) -> dict[str, Any]:
    """What the containers themselves say: memory by role, threads, inotify, DNS, and the processor when idle."""
    rows = kit.containers()
    roles = {row["Id"]: row["Config"]["Labels"]["karst.role"] for row in rows}
    pids = {row["State"]["Pid"] for row in rows}
    with containers.engine() as docker:
        memory = stats.memory(docker, list(roles))
        network = docker.api.inspect_network(f"iacnet-{kit.stack}")
    by_role: dict[str, list[float]] = {}
    for identifier, role in roles.items():
        by_role.setdefault(role, []).append(memory.get(identifier, {}).get("used", 0) / 2**20)
    parents = {pid: int(status.get("PPid", "0")) for pid, status in host.processes()}
    children, shims = host.tree(pids), {parents[pid] for pid in pids if pid in parents}
    engine = {pid for pid, one in host.processes() if one.get("Name", "") in {name[:15] for name in host.ENGINE}}
    first = next(r["Id"] for r in rows if roles[r["Id"]] == "app")
    names = [services.name(number) for number in range(1, len(rows) // 3 + 1)][:50]
    python = kit.docker("exec", first, "sh", "-c", "command -v python3 python | head -1")
    lookups = [float(line) for line in kit.docker("exec", first, python, "-c", LOOKUPS, *names).split()]
    envoy = {one["Config"]["Labels"]["karst.service"]: _config(one) for one in rows if _config(one)}
    sizes = sorted(envoy.values())
    return {
        "memory_mib": {role: round(statistics.median(sizes_), 1) for role, sizes_ in sorted(by_role.items())},
        "of_containers": {
            "inotify": host.inotify_of(children),
            "threads": host.threads(children | shims),
            "user_threads": host.threads(children, CONTAINER_UID),
            "bridge_ports": host.bridge_ports(network["Id"]),
        },
        "subnet": network["IPAM"]["Config"][0]["Subnet"],
        "idle_cores": {
            "containers": round(host.processor_share(children, 20), 3),
            "engine": round(host.processor_share(engine, 10), 3),
        },
        "dns_ms": {"median": round(statistics.median(lookups), 2), "max": round(max(lookups), 2)},
        "envoy_config": {"median": sizes[len(sizes) // 2], "longest": sizes[-1]},
    }


def _config(row: dict[str, Any]) -> int:
    """Bytes of the variable that holds an Envoy's configuration; 0 for a container without."""
    return next((len(one) for one in row["Config"]["Env"] or [] if one.startswith("ENVOY_CONFIG=")), 0)


def _sizes(kit: Kit) -> dict[str, int]:
    """Bytes of the state, and of the answer of each helper program in it."""
    text = kit.state_file.read_text()
    answers: Counter[str] = Counter()
    for resource in json.loads(text)["resources"]:
        if resource["type"] == "external" and "service" in resource["module"]:
            for one in resource["instances"]:
                answers[resource["name"]] += len(one["attributes"]["result"]["services"])
    return {"state": len(text), **answers}
