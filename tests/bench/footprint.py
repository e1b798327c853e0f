"""What a service costs beside its own program: memory, image bytes, seconds to serve and to leave; what is lost."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from karst.tunnel import connect
from tests.bench import Options
from tests.bench.cgroups import Account
from tests.bench_admin import server as admin
from tests.support import reports
from tests.support.kit import ROOT, Kit, docker

SERVICES = 3  # first; ROUNDS more come one by one, each started with nothing beside it
ROUNDS = 3
SETTLE = 10.0  # seconds after a deploy: by then what was needed for the start alone is given back
ROLES = ("pod", "sidecar", "app")
CHAOS = ROOT / "tests" / "chaos" / "results"


def run(options: Options) -> Iterator[dict[str, Any]]:
    """One result for each kind of cost."""
    parts: list[Callable[[], Iterator[dict[str, Any]]]] = [_admin, _failed]
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder:
        stack = Stack(Path(folder) / "kit")
        for part in (stack.measure, *parts):
            try:
                yield from (row for row in part() if options.only in row["name"])
            except Exception as err:
                yield {
                    "name": part.__name__.strip("_"),
                    "error": " … ".join([*str(err).splitlines()[:1], str(err)[-300:]]),
                }


class Stack:
    """`examples/hello` several times over: the standard library's server, so that the app itself is next to nothing."""

    def __init__(self, home: Path) -> None:
        self.kit = Kit(home, env={"KARST_DRAIN_SECONDS": "20"})  # the module's default, not the tests' short one

    def measure(self) -> Iterator[dict[str, Any]]:
        """Deploy, look, add services, look again, drain, destroy."""
        names = [f"hello{number}" for number in range(SERVICES + ROUNDS)]
        try:
            for name in names:
                shutil.copytree(ROOT / "examples" / "hello", self.kit.home / name)
            self._deploy(names[:SERVICES])
            time.sleep(SETTLE)
            yield self._memory(names[:SERVICES])
            yield self._images(names[0])
            yield {"name": "start", "seconds": [self._start(names[: SERVICES + n + 1]) for n in range(ROUNDS)]}
            yield {"name": "drain", "seconds": self._drain(names[0])}
        finally:
            self.kit.iac("destroy", "--yes", check=None)

    def _deploy(self, names: list[str]) -> list[dict[str, Any]]:
        self.kit.write_list([f"dir:{name}" for name in names])
        return self.kit.deploy()

    def _container(self, service: str, role: str) -> dict[str, Any]:
        return next(row for row in self.kit.containers(service) if row["Config"]["Labels"]["karst.role"] == role)

    def _memory(self, names: list[str]) -> dict[str, Any]:
        """Bytes: of each container by its cgroup; of the runner its share of the app's, by the kernel's map of it."""
        accounts = {role: [Account(self._container(name, role)["Id"]) for name in names] for role in ROLES}
        said = {role: int(statistics.median(one.memory() for one in found)) for role, found in accounts.items()}
        said["runner"] = int(statistics.median(_private(one.pid) for one in accounts["app"]))
        edge = docker(
            "ps", "--quiet", "--filter", f"label=karst.stack={self.kit.stack}", "--filter", "label=karst.role=edge"
        )
        if edge:
            said["edge"] = Account(edge).memory()
        return {"name": "memory", "bytes": said}

    def _images(self, service: str) -> dict[str, Any]:
        """Bytes of layers: shared by all services, and a service's own on top of them."""
        images = {role: self._container(service, role)["Image"] for role in ("app", "sidecar")}
        layers = _layers(images["app"])
        runners = docker("image", "ls", "--format", "{{.ID}}", "karstkit/runner").split()
        below = next((one for one in runners if layers[: len(_layers(one))] == _layers(one)), None)
        assert below, "the app's image is not made of a runner's layers"
        return {
            "name": "images",
            "own": _size(images["app"]) - _size(below),
            "layers": len(layers) - len(_layers(below)),
            "runner": _size(below),
            "sidecar": _size(images["sidecar"]),
        }

    def _start(self, names: list[str]) -> dict[str, float]:
        """Add the last one alone: seconds from its pod's start, and from its app's, until its gate has let it in."""
        events = self._deploy(names)
        passed = next(
            _moment(one["ts"])
            for one in events
            if one["type"] == "service" and (one["service"], one["step"], one["state"]) == (names[-1], "gate", "done")
        )
        return {
            role: round(passed - _moment(self._container(names[-1], role)["State"]["StartedAt"]), 2)
            for role in ("pod", "app")
        }

    def _drain(self, service: str) -> float:
        """Seconds of the sidecar's drain with callers that keep a connection and ask nothing, as the edge does."""
        sidecar = self._container(service, "sidecar")["Id"]
        with connect(service, ("127.0.0.1", self.kit.ports["edge"]), self.kit.secrets_dir, protocol="h2"):
            begin = time.monotonic()
            docker("exec", sidecar, "/opt/karst/drain")
            return round(time.monotonic() - begin, 1)


def _admin() -> Iterator[dict[str, Any]]:
    """The admin app's process, with one run under way and nobody who looks."""
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder, admin.running(Path(folder)) as server:
        time.sleep(3)
        yield {"name": "admin", "resident": 1024 * server.size()["VmRSS"], "private": _private(server.pid)}


def _failed() -> Iterator[dict[str, Any]]:
    """What callers lost by one deploy, from the kept results of `make chaos`."""
    for part in ("deploys", "peers"):
        content = json.loads((CHAOS / f"{part}.json").read_text())
        for row in content["results"]:
            if re.search(r"(good|bad) deploy", row["name"]):
                groups = [group for name, group in row["groups"].items() if not name.endswith("|beyond")]
                yield {
                    "name": f"failed: {row['name']} ({row['path']})",
                    "measured": content["measured"],
                    "change": row["name"],
                    "path": row["path"],
                    "sent": sum(group["sent"] for group in groups),
                    "failed": sum(group["failed"] for group in groups),
                    "down": max(group["down_seconds"] for group in groups),
                }


def _private(pid: int) -> int:
    """Bytes of a process: its own pages, and its part of those that it shares."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(re.search(r"^Pss: +(\d+)", rows, re.M)[1])  # type: ignore[index]


def _size(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def _layers(image: str) -> list[str]:
    found: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    return found


def _moment(text: str) -> float:
    """Seconds since the epoch of a time as Docker and the events write it."""
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"


def _mb(size: float) -> str:
    return f"{size / 1e6:.2f} MB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def tables(results: list[dict[str, Any]]) -> str:
    """What was measured, as Markdown; what was not is left out."""
    found = {row["name"]: row for row in results if "error" not in row}
    parts = [_costs(found), _lost([row for name, row in found.items() if name.startswith("failed: ")])]
    parts += [f"Could not be measured: {row['name']} ({row['error']})." for row in results if "error" in row]
    return "\n\n".join(part for part in parts if part)


def pictures(results: list[dict[str, Any]]) -> dict[str, str]:
    """None."""
    del results
    return {}


def _costs(found: dict[str, dict[str, Any]]) -> str:
    rows: list[list[str]] = []
    if memory := found.get("memory"):
        size = memory["bytes"]
        rows.append(
            [
                "memory of a service: pod, sidecar, runner",
                " + ".join(_mib(size[one]) for one in ("pod", "sidecar", "runner")),
            ]
        )
        rows.append(["memory of its app's container, runner included", _mib(size["app"])])
        if "edge" in size:
            rows.append(["memory of the edge, one per stack", _mib(size["edge"])])
    if admin_app := found.get("admin"):
        rows.append(
            [
                "memory of the admin app: its own, resident",
                f"{_mib(admin_app['private'])}, {_mib(admin_app['resident'])}",
            ]
        )
    if images := found.get("images"):
        rows.append(
            [f"image bytes of a service, beyond what all share ({images['layers']} layers)", _mb(images["own"])]
        )
        rows.append(
            [
                "shared by all services: runner with Python, sidecar",
                f"{_mb(images['runner'])}, {_mb(images['sidecar'])}",
            ]
        )
    if start := found.get("start"):
        middle = {role: statistics.median(one[role] for one in start["seconds"]) for role in ("pod", "app")}
        rows.append(
            ["start to SERVING: from the pod's start, from the app's", f"{middle['pod']:.1f} s, {middle['app']:.1f} s"]
        )
    if drain := found.get("drain"):
        rows.append(["drain, callers connected and no request under way", f"{drain['seconds']:.1f} s"])
    return reports.table(["", "measured"], rows) if rows else ""


def _lost(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    cells = [
        [row["change"], row["path"], f"{row['failed']:,} / {row['sent']:,}", f"{row['down']:g} s", row["measured"]]
        for row in rows
    ]
    return reports.table(["deploy", "load from", "failed / sent", "longest time without an answer", "measured"], cells)
