"""docs/scale.md's tables, from the results that were kept."""

from __future__ import annotations

from ipaddress import ip_network
from math import log
from typing import Any

from tests.scale import results
from tests.support import reports

PAGE = "docs/scale.md"
BRIDGE_PORTS = 1023  # BR_MAX_PORTS of the kernel's bridge, and the first one is not used
PER_USER_PROCESSES = 8192  # the app's own limit in modules/karst_service/pods.tf
ENVIRONMENT_STRING = 131_072  # MAX_ARG_STRLEN: one variable of a process's environment
STEPS = (
    ("deploy", "first deploy"),
    ("deploy: images", "… of which images"),
    ("deploy of one change", "deploy of one changed service"),
    ("deploy of no change", "deploy with nothing to do"),
    ("plan of no change", "`iac plan` with nothing to do"),
    ("health", "`iac health`"),
    ("drift", "`iac drift`"),
    ("destroy", "`iac destroy`"),
)


def write() -> None:
    """Put the tables between the page's markers."""
    created, planned = results.of("create"), results.of("plan")
    reports.write(PAGE, "created", _created(created) if created else "Not measured yet: `make scale` does it.")
    reports.write(PAGE, "first", first(created[-1]) if created else "Not measured yet: `make scale` does it.")
    reports.write(PAGE, "planned", _planned(planned) if planned else "Not measured yet: `make scale` does it.")


def _created(found: list[dict[str, Any]]) -> str:
    head = ["", *(f"{one['services']} services" for one in found)]
    rows = [[label, *(_seconds(one, step) for one in found)] for step, label in STEPS]
    rows.append(["Terraform and its providers, at most", *(f"{one['terraform_mib']:,} MiB" for one in found)])
    rows.append(["state", *(f"{one['bytes']['state'] / 1024:,.0f} KiB" for one in found)])
    idle = [f"{one['idle_cores']['containers']:.2f} + {one['idle_cores']['engine']:.2f}" for one in found]
    rows.append(["cores in use when idle, containers + engine", *idle])
    rows.append(["a name looked up by an app, median / longest", *(_dns(one) for one in found)])
    roles = "; ".join(f"{role} {size:g}" for role, size in found[-1]["memory_mib"].items())
    return f"""{reports.table(head, rows)}

Memory of one container at the median of {found[-1]["services"]} services, MiB: {roles}. {_origin(found)}"""


def _seconds(one: dict[str, Any], step: str) -> str:
    return f"{one['seconds'][step]:,.1f} s" if step in one["seconds"] else "–"


def _dns(one: dict[str, Any]) -> str:
    return f"{one['dns_ms']['median']:g} / {one['dns_ms']['max']:g} ms"


def _origin(found: list[dict[str, Any]]) -> str:
    """When and where, with the load that the machine had before."""
    machines = dict.fromkeys(one["machine"].partition("; load")[0] for one in found)
    loads = [one["machine"].rpartition(" ")[2] for one in found]
    days = sorted({one["measured"] for one in found})
    return f"Measured on {', '.join(days)}: {'; '.join(machines)}. Load before each: {', '.join(loads)}."


def limits(one: dict[str, Any]) -> list[tuple[str, float, int, str]]:
    """(what, how much of it each service takes, how much there is, the way past), the scarcest first."""
    taken, there, count = one["taken"], one["limits"], one["services"]
    envoy = one["envoy_config"]
    each_caller = (envoy["longest"] - envoy["median"]) / (count - 1)
    callers = int((ENVIRONMENT_STRING - envoy["median"]) / each_caller) if each_caller > 0 else 0
    rows = [
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
    return sorted(rows, key=lambda row: row[2] / row[1] if row[1] > 0 else float("inf"))


def _memory(one: dict[str, Any]) -> float:
    """MiB that the services took: what the host had less, or, where others gave some back meanwhile, their own sum."""
    roles = one["memory_mib"]
    own = one["services"] * sum(size for role, size in roles.items() if role != "edge") + roles.get("edge", 0)
    return float(max(one["taken"]["memory_mib"], own + one["taken"].get("engine_mib", 0)))


def first(one: dict[str, Any]) -> str:
    """What runs out first, from what this many services took."""
    rows = [
        [what, f"{each:.2f}", f"{there:,}", f"{int(there / each):,}" if each > 0 else "no bound seen", past]
        for what, each, there, past in limits(one)
    ]
    head = ["what", "each service takes", "there is", "enough for", "way past it"]
    return f"""{reports.table(head, rows)}

From what {one["services"]} services took of the whole machine. {_origin([one])}"""


def _planned(found: list[dict[str, Any]]) -> str:
    steps = list(dict.fromkeys(step for one in found for step in one["seconds"]))
    head = ["", *(f"{one['services']} services" for one in found)]
    rows = [[WORDS.get(step, step), *(_seconds(one, step) for one in found)] for step in steps]
    for key, label in (("iac plan", "memory of Terraform in `iac plan`"), ("mocked", "… with mocked providers")):
        rows.append([label, *(f"{one['mib'][key]:,} MiB" if key in one["mib"] else "–" for one in found)])
    for key in dict.fromkeys(key for one in found for key in one["bytes"]):
        label = "plan file" if key == "plan file" else f"answer of `{key}`"
        sizes = (one["bytes"].get(key) for one in found)
        rows.append([label, *("–" if size is None else f"{size / 1024:,.0f} KiB" for size in sizes)])
    return f"{reports.table(head, rows)}\n\n{growth(found)}{_origin(found)}"


def growth(found: list[dict[str, Any]]) -> str:
    """How Terraform's own share grows with the list, from the smallest and the largest measured; "" for one alone.

    From processor time: what else the machine did is not in it.
    """
    sizes = [(one["services"], one["processor"]["mocked"]) for one in found if "mocked" in one.get("processor", {})]
    if len(sizes) < 2:
        return ""
    (few, short), (many, long) = sizes[0], sizes[-1]
    power = log(long / short) / log(many / few)
    whole, split = (count * long * (1000 / count / many) ** power / 60 for count in (1, 20))
    return (
        f"The module's plan took {short:g} s of processor time for {few} services, {long:g} s for {many}: it grows\n"
        f"with their number to the power of {power:.1f}. By that, 1,000 would take {whole:,.1f} minutes of it\n"
        f"in one stack, and {split:,.1f} in twenty stacks of 50.\n\n"
    )


WORDS = {
    "iac plan": "`iac plan` of a stack that is not there yet",
    "mocked": "the module planned with mocked providers",
}
