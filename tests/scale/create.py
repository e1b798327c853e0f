"""A stack of a given size really created, looked at from all sides, changed, and destroyed."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from karst import containers, stats
from karst.identity.store import CONTAINER_UID
from tests.scale import host, services
from tests.support.kit import Kit

SETTLE_SECONDS = 20.0
LOOKUPS = (
    "import socket, sys, time\n"
    "for name in sys.argv[1:]:\n"
    "    at = time.perf_counter(); socket.getaddrinfo(name, 15000); print(1000 * (time.perf_counter() - at))\n"
)


def run(count: int) -> dict[str, Any]:
    """Create ``count`` services; return times, sizes, and how much of each thing the services took."""
    with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
        env = services.cache_of(Path(folder) / "cache") | {"KARST_GATE_TIMEOUT": "300"}
        kit = Kit(Path(folder) / "stack", env=env)
        services.write(kit, count)
        try:
            return _measure(kit, count)
        finally:
            kit.iac("destroy", "--yes", check=None, timeout=1800)


def _measure(kit: Kit, count: int) -> dict[str, Any]:
    before, engine = host.used(), host.engine_memory_mib()
    with host.Peak("terraform") as peak:
        seconds, phases = _deploy(kit)
    _say(count, f"deployed in {seconds:.0f} s")
    time.sleep(SETTLE_SECONDS)  # what starts up uses more of everything
    after = host.used()
    taken = {key: after[key] - before[key] for key in after}
    result: dict[str, Any] = {
        "name": f"create {count}",
        "services": count,
        "seconds": {"deploy": seconds, **{f"deploy: {name}": took for name, took in phases.items()}},
        "terraform_mib": round(peak.mib),
        "taken": taken | {"engine_mib": round(host.engine_memory_mib() - engine)},
        "limits": host.limits(),
    }
    result |= _inside(kit)
    result["taken"] |= result.pop("of_containers")
    result["bytes"] = _sizes(kit)
    _say(count, "looked at")
    for name, arguments in COMMANDS.items():
        result["seconds"][name] = _timed(kit, *arguments)
    services.write_app(kit, 1, version=2)
    result["seconds"]["deploy of one change"], _ = _deploy(kit)
    result["seconds"]["destroy"] = _timed(kit, "destroy", "--yes")
    _say(count, "changed and destroyed")
    return result


COMMANDS = {
    "deploy of no change": ("deploy", "--file", "repos.yaml"),
    "plan of no change": ("plan", "--file", "repos.yaml", "--detailed-exitcode"),
    "health": ("health",),
    "drift": ("drift",),
}


def _deploy(kit: Kit) -> tuple[float, dict[str, float]]:
    """Seconds of a deploy, and of its phases; `images` is the part of the apply before the first pod begins."""
    begun = time.monotonic()
    done = kit.iac("deploy", "--file", str(kit.list_file), "--events", timeout=3000)
    took = round(time.monotonic() - begun, 1)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    phases = {one["phase"]: one["seconds"] for one in events if one["type"] == "phase" and one["state"] == "done"}
    begins = [
        one["ts"] for one in events if one["type"] == "phase" and (one["phase"], one["state"]) == ("apply", "start")
    ]
    pods = [one["ts"] for one in events if one["type"] == "service" and (one["step"], one["state"]) == ("pod", "start")]
    if begins and pods:
        phases["images"] = round((_time(pods[0]) - _time(begins[0])).total_seconds(), 1)
    return took, phases


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _timed(kit: Kit, *arguments: str) -> float:
    begun = time.monotonic()
    kit.iac(*arguments, timeout=1800)
    return round(time.monotonic() - begun, 1)


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


def _say(count: int, what: str) -> None:
    print(f"{count} services: {what}", flush=True)
