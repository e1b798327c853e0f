"""The tables in docs/reliability.md, docs/hosts.md and docs/swarm.md, from the results that were kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos import results

DOCS = Path(__file__).resolve().parents[2] / "docs"
NONE = "Not measured yet: `make chaos` does it.\n"


def write() -> None:
    """Put a table for each part between its markers."""
    for part, tables in TABLES.items():
        page = page_of(part)
        text = page.read_text()
        begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        kept = results.load(part)
        body = f"{_origin(kept)}\n\n{tables(kept['results'])}" if kept else NONE
        page.write_text(f"{head}{begin}\n\n{body}\n{end}{tail}")


def page_of(part: str) -> Path:
    """The page that has the part's table."""
    return DOCS / (f"{part}.md" if part in ("hosts", "swarm") else "reliability.md")


def _origin(kept: dict[str, Any]) -> str:
    busy = [one["busy_before"] for one in kept["results"] if "busy_before" in one]
    load = f" Load average before each run: {min(busy):g} to {max(busy):g}." if busy else ""
    return f"Measured on {kept['measured']}: {kept['machine']}.{load}"


def table(titles: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def share(result: dict[str, Any], group: str, *, path: str = "") -> str:
    """`failed / sent` of a group."""
    found = result["groups"].get(f"{path or result['path']}|{group}")
    return f"{found['failed']:,} / {found['sent']:,}" if found else "–"


def changes(found: list[dict[str, Any]]) -> str:
    """Deploys and rotations: what failed on which path, and how long the change took."""
    rows = []
    for one in found:
        groups = {name: group for name, group in one["groups"].items() if name.endswith(("HTTP", "gRPC"))}
        rows.append(
            [
                one["name"],
                one["path"],
                *(share(one, group) for group in ("HTTP", "gRPC", "long")),
                " / ".join(f"{group['p99_ms']:,.0f}" for group in groups.values()),
                f"{one['seconds']:.0f}",
            ]
        )
    titles = ["change", "load from", "HTTP failed / sent", "gRPC failed / sent", "long requests and streams"]
    text = table([*titles, "p99 ms, HTTP / gRPC", "change took s"], rows)
    restarted = [one["restarted"] for one in found if "restarted" in one]
    if restarted:
        text += f"\nContainers started again: {'some' if any(restarted) else 'none'}.\n"
    cut = [
        [lane.split("|")[0], lane.split("|")[2], f"{took / 1000:.0f}"]
        for one in found
        for lane, _, _, took, *_ in one["failures"]
        if "|beyond|" in lane
    ]
    if cut:
        text += "\nStreams of 60 s that began before the good deploy, and so took longer than the limit:\n\n"
        text += table(["load from", "stream", "cut after s"], cut)
    return text


def peers(found: list[dict[str, Any]]) -> str:
    """The same load during the peers' deploys."""
    rows = [
        [
            one["name"],
            one["path"],
            *(share(one, group) for group in ("HTTP", "gRPC", "long")),
            " / ".join(f"{one['groups'][one['path'] + '|' + group]['down_seconds']:g}" for group in ("HTTP", "gRPC")),
            "yes" if down_at_end(one) else "no",
        ]
        for one in found
    ]
    titles = ["deploy", "load from", "HTTP failed / sent", "gRPC failed / sent", "long requests and streams"]
    return table([*titles, "seconds down, HTTP / gRPC", "down at the end"], rows)


def down_at_end(one: dict[str, Any]) -> bool:
    """Whether the last version that answered stopped doing so before the last second of the load."""
    end = one["phases"][-1][0]
    seen = [last for group in one["groups"].values() for _, last, _ in group["versions"].values()]
    return max(seen, default=0.0) < end


def kills(found: list[dict[str, Any]]) -> str:
    """What each kill cost."""
    rows = []
    for one in found:
        said = one["change"]
        cells = [share(one, "HTTP", path=path) + ", " + share(one, "gRPC", path=path) for path in ("caller", "edge")]
        after = "not by itself" if said.get("serving_after") is None else f"{said['serving_after']:g}"
        empty = {0: "empty", 2: "not empty"}.get(one["pending"], "failed") + ("" if one["well"] else ", NOT SERVING")
        rows.append([one["name"], *(cell.replace("–, –", "–") for cell in cells), after, said.get("help", ""), empty])
    titles = ["what", "caller: HTTP, gRPC failed / sent", "edge: HTTP, gRPC failed / sent"]
    return table([*titles, "SERVING again after s", "help", "plan after the next deploy"], rows)


def soak(found: list[dict[str, Any]]) -> str:
    """Ramp, soak and overload."""
    by_name = {one["name"]: one for one in found}
    text = ""
    if "ramp" in by_name:
        steps = by_name["ramp"]["steps"]
        text += table(
            ["requests a second", "p50 ms", "p99 ms", "failed"],
            [[f"{s['rate']:,}", f"{s['p50_ms']:g}", f"{s['p99_ms']:,.0f}", f"{s['failed']:,}"] for s in steps],
        )
    if "soak" in by_name:
        one = by_name["soak"]
        sent = sum(group["sent"] for group in one["groups"].values())
        failed = sum(group["failed"] for group in one["groups"].values())
        counts = f"{failed:,} of {sent:,} failed"
        text += f"\n**{one['seconds'] / 60:.0f} minutes at {one['rate']:,} requests a second: {counts}**, "
        text += f"{crashed(one)}. Memory of the processes:\n\n"
        rows = [
            [name, f"{held['settled_mib']:.1f}", f"{held['end_mib']:.1f}", f"{held['mib_an_hour']:+.1f}"]
            for name, held in sorted(one["memory"].items())
            if not name.endswith(" pod")
        ]
        text += table(["container", "MiB after 2 minutes", "MiB at the end", "slope, MiB an hour"], rows)
    return text + "".join(overload(one) for one in found if one["name"].startswith("overload"))


def overload(one: dict[str, Any]) -> str:
    """What the flood got, and what the few requests beside it did."""
    rows = []
    for flood in one["flood"]:
        kind = f"{'gRPC' if flood['grpc'] else 'HTTP'}, {flood['door']}"
        for fate in ("answered", "refused", "broken"):
            took = flood.get(f"{fate}_ms", {"p50": "", "p99": ""})
            rows.append(
                [kind, fate, f"{flood[fate]:,}", *(f"{value:,.0f}" if value != "" else "" for value in took.values())]
            )
    groups = [group for name, group in one["groups"].items() if not name.endswith("|long")]
    failed, sent = (sum(group[key] for group in groups) for key in ("failed", "sent"))
    text = f"\n**A minute of {one['rate']:,} requests a second**, and {failed:,} of {sent:,} failed that were checked "
    text += (
        f"before, beside and after it, the last one {one['recovered_after']:g} s after it was over; {crashed(one)}.\n\n"
    )
    text += table(["flood", "fate", "requests", "p50 ms", "p99 ms"], rows)
    broken: dict[str, int] = {}
    for flood in one["flood"]:
        for error, count in flood["errors"].items():
            broken[error] = broken.get(error, 0) + count
    return text + (
        "\n" + table(["error", "times"], [[error, f"{count:,}"] for error, count in broken.items()]) if broken else ""
    )


def hosts(found: list[dict[str, Any]], again: bool = False) -> str:
    """What happened to three hosts, and what it cost; ``again``: and when all was running again without help."""
    rows = []
    for one in (one for one in found if "groups" in one):
        parts = [group for name, group in one["groups"].items() if name.endswith(("HTTP", "gRPC"))]
        failed, sent = (sum(group[key] for group in parts) for key in ("failed", "sent"))
        gone = one.get("out_of_rotation_after")
        rows.append(
            [
                one["name"],
                *(share(one, "HTTP", path=path) + ", " + share(one, "gRPC", path=path) for path in ("caller", "edge")),
                f"{100 * failed / sent:.2f} %",
                f"{max(group['p99_ms'] for group in parts):,.0f}",
                _number(gone),
                *([_number(one["change"].get("rescheduled_after"))] if again else []),
                "–" if "seconds" not in one["change"] else f"{one['change']['seconds']:.0f}",
            ]
        )
    titles = ["what", "caller: HTTP, gRPC failed / sent", "edge: HTTP, gRPC failed / sent", "failed", "p99 ms"]
    last = ["out of rotation after s", *(["scheduled again after s"] if again else []), "apply took s"]
    text = table([*titles, *last], rows)
    by_name = {one["name"]: one for one in found}
    if "who answers" in by_name:
        asked = by_name["who answers"]["answers"]
        whose = "the short id of the task's container" if again else "the pod's own name"
        text += f"\nAsked one by one over mTLS, by {whose}, at one host's edge:\n\n"
        text += table(
            ["service", "host", "answer"],
            [
                [name, pod.partition("/")[0], " ".join(said.split()[1:2])]
                for name in asked
                for pod, said in asked[name].items()
            ],
        )
    if "plan after all of it" in by_name:
        empty = by_name["plan after all of it"]["pending"] == 0
        text += f"\nThe plan after all of it is {'empty' if empty else 'not empty'}.\n"
    return text


def swarm(found: list[dict[str, Any]]) -> str:
    """The same for a Swarm's tasks, which it starts again elsewhere by itself."""
    said = [one["change"]["reason"] for one in found if one["change"].get("reason")]
    words = f"\nWhat the apply of the version that does not come up said: `{said[-1]}`\n" if said else ""
    return hosts(found, again=True) + words


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def crashed(one: dict[str, Any]) -> str:
    return "a container started again" if one["crashed"] else "no container started again"


TABLES: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "deploys": changes,
    "rotations": changes,
    "peers": peers,
    "kills": kills,
    "soak": soak,
    "hosts": hosts,
    "swarm": swarm,
}
