"""What runs out first, from what so many services took of it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

from tests.scale import tables
from tests.support import reports

BRIDGE_PORTS = 1023  # BR_MAX_PORTS of the kernel's bridge, and the first one is not used
PER_USER_PROCESSES = 8192  # `processes` of modules/karst_service/generations.tf
ENVIRONMENT_STRING = 131_072  # MAX_ARG_STRLEN: one variable of a process's environment


def limits(one: dict[str, Any]) -> list[tuple[str, float, int, str, bool]]:
    """The scarcest first: what, how much of it each service takes, how much there is, the way past, and whether two
    generations take no more of it than one.
    """
    taken, there, count = one["taken"], one["limits"], one["services"]
    envoy = one["envoy_config"]
    each_caller = (envoy["longest"] - envoy["median"]) / (count - 1)
    callers = int((ENVIRONMENT_STRING - envoy["median"]) / each_caller) if each_caller > 0 else 0
    rows = [
        ("cores, when nothing happens", _idle_cores(one) / count, _cores(one), "a second host, or one with more"),
        ("memory, MiB", _memory(one) / count, there["memory_mib"], "a second host; `otel: false`"),
        ("ports of a Linux bridge", taken["bridge_ports"] / count, BRIDGE_PORTS, "a second stack"),
        (
            "entries of the kernel's neighbour table, of all networks (`gc_thresh3`)",
            taken["neighbours"] / count,
            there["neighbours"],
            "`sysctl net.ipv4.neigh.default.gc_thresh3=16384` (`gc_thresh1` and `2` to match)",
        ),
        (
            "inotify instances of a user",
            taken["inotify"] / count,
            there["inotify"],
            "`sysctl fs.inotify.max_user_instances`",
        ),
        (
            "processes and threads of the apps' user, of all stacks (`nproc`)",
            taken["user_threads"] / count,
            PER_USER_PROCESSES,
            "deploy as a user who is not root: then the Envoys are that user's",
        ),
        ("process numbers (`pid_max`)", taken["threads"] / count, there["threads"], "`sysctl kernel.pid_max=4194304`"),
        ("open files of the host", taken["files"] / count, there["files"], "`sysctl fs.file-max`"),
        (
            "addresses of the network",
            1,
            ip_network(one["subnet"]).num_addresses - 3,
            "`default-address-pools` of dockerd",
        ),
        ("callers under one `allow:` (an Envoy's configuration is one variable)", 1, callers, "no `allow:`"),
    ]
    told = [(*row, row[0].startswith("callers")) for row in rows]
    return sorted(told, key=lambda row: row[2] / row[1] if row[1] > 0 else float("inf"))


def _cores(one: dict[str, Any]) -> int:
    """As the machine's name begins (`2 × …`)."""
    found = re.match(r"(\d+) × ", one["machine"])
    return int(found[1]) if found else 1


def _idle_cores(one: dict[str, Any]) -> float:
    return float(one["idle_cores"]["containers"] + one["idle_cores"]["engine"])


def _memory(one: dict[str, Any]) -> float:
    """MiB that the services took: what the host had less, or, where others gave some back meanwhile, their own sum."""
    roles = one["memory_mib"]
    own = one["services"] * sum(size for role, size in roles.items() if role != "edge") + roles.get("edge", 0)
    return float(max(one["taken"]["memory_mib"], own + one["taken"].get("engine_mib", 0)))


def _enough(there: int, each: float) -> str:
    return f"{int(there / each):,}" if each > 0 else "no bound seen"


def first(found: list[dict[str, Any]]) -> str:
    """What runs out first, from what the most services took."""
    one = found[-1]
    rows = [
        [what, f"{each:.3g}", f"{there:,}", _enough(there, each), _enough(there, each if alone else 2 * each), past]
        for what, each, there, past, alone in limits(one)
    ]
    head = ["what", "each service takes", "there is", "enough for", "… that are all replaced at once", "way past it"]
    return f"""{reports.table(head, rows)}

From what {one["services"]} services took of the whole machine. {tables.origin([one])}"""
