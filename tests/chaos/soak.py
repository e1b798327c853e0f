"""The highest steady load of this machine, ten minutes of it, and three times as much.

The load comes on both paths at once and shares the machine with what it is sent to.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker

from tests.chaos import results
from tests.chaos.flood import flooding, floods
from tests.chaos.scenario import lost
from tests.chaos.stage import Stage
from tests.chaos.traffic import Sender, running, senders

STEP, FIRST, HIGHEST = 1.25, 200.0, 20000.0  # requests a second in all
STEP_SECONDS = 12.0
SLOW_MS = 250.0  # a level at which one request in a hundred takes longer is not held
SOAK_SECONDS = 600.0
SAMPLE_SECONDS = 10.0
SETTLED_SECONDS = 120.0  # memory is compared from here on: pools and caches are full
OVERLOAD, OVERLOAD_SECONDS, RECOVERY_SECONDS = 3, 60.0, 45.0
CHECKED = 100.0  # requests a second in all beside the flood
GROUPS = 4  # HTTP and gRPC, from the caller and from the edge


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """Ramp, soak, overload: one result each. ``only`` may be ``soak``, or ``overload`` by the ramp that was kept."""
    with tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder:
        stage = Stage(Path(folder) / "stack")
        try:
            stage.deploy()
            if only == "overload":
                first = next(one for one in (results.load("soak") or {})["results"] if one["name"] == "ramp")
            else:
                first = ramp(stage)
                yield first
                yield soak(stage, first["held"])
            if only == "soak":
                return
            for times in (OVERLOAD, OVERLOAD**2):  # what is not refused at three times as much may be at nine
                result = overload(stage, first["held"], times)
                yield result
                if result["refused"]:
                    break
        finally:
            stage.close()


def both(stage: Stage, total: float) -> list[Sender]:
    return senders(stage, "both", total / GROUPS)


def ramp(stage: Stage) -> dict[str, Any]:
    """Raise the load step by step, until requests fail or become slow."""
    steps, total, held = [], FIRST, 0.0
    while total <= HIGHEST:
        with running(*both(stage, total)) as traffic:
            traffic.until(STEP_SECONDS)
            outcome = traffic.finish()
        short = [group for name, group in outcome["groups"].items() if not name.endswith("|long")]
        p99 = max(group["p99_ms"] for group in short)
        failed = sum(group["failed"] for group in outcome["groups"].values())
        steps.append(
            {"rate": round(total), "p50_ms": max(group["p50_ms"] for group in short), "p99_ms": p99, "failed": failed}
        )
        print(f"ramp: {steps[-1]}", flush=True)
        if failed or p99 > SLOW_MS:
            break
        held, total = total, total * STEP
    return {"name": "ramp", "path": "both", "held": round(held), "steps": steps}


class Memory:
    """Samples of what each container's processes hold (without the page cache), in MiB."""

    def __init__(self, stage: Stage) -> None:
        self._stack = stage.kit.stack
        self.samples: dict[str, list[tuple[float, float]]] = {}
        self._stop = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        begin = time.monotonic()
        client = docker.from_env()
        rows = client.containers.list(filters={"label": f"karst.stack={self._stack}"})

        def watch() -> None:
            while not self._stop.wait(SAMPLE_SECONDS):
                for row in rows:
                    stats = client.api.stats(row.id, stream=False, one_shot=True)["memory_stats"]["stats"]
                    name = f"{row.labels['karst.service']} {row.labels['karst.role']}"
                    held = stats.get("anon", stats.get("rss", 0)) / 2**20
                    self.samples.setdefault(name, []).append((round(time.monotonic() - begin), round(held, 2)))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(30)
            client.close()

    def growth(self) -> dict[str, dict[str, Any]]:
        """Of each container: MiB when settled and at the end, the slope between in MiB an hour (least squares), and MiB
        minute by minute."""
        found = {}
        for name, samples in self.samples.items():
            settled = [(at, held) for at, held in samples if at >= SETTLED_SECONDS] or samples
            found[name] = {
                "settled_mib": settled[0][1],
                "end_mib": settled[-1][1],
                "mib_an_hour": round(slope(settled) * 3600, 1),
                "mib": [round(held, 1) for _, held in samples[:: int(60 / SAMPLE_SECONDS)]],
            }
        return found


def slope(points: list[tuple[float, float]]) -> float:
    """Least-squares slope; 0 for fewer than two points."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def started(stage: Stage) -> dict[str, str]:
    """When each container started: another value afterwards is a crash."""
    return {row["Id"]: row["State"]["StartedAt"] for row in stage.kit.containers()}


def soak(stage: Stage, total: float) -> dict[str, Any]:
    """The load that was held, for ten minutes."""
    since, memory = started(stage), Memory(stage)
    with running(*both(stage, total), seconds=SOAK_SECONDS + 30) as traffic, memory.watching():
        traffic.until(SOAK_SECONDS)
        outcome = traffic.finish()
    result = {"name": "soak", "path": "both", "rate": round(total), "seconds": SOAK_SECONDS, **outcome}
    result |= {"memory": memory.growth(), "crashed": started(stage) != since}
    print(f"soak: {total} a second, {lost(result)} failed, {result['memory']}", flush=True)
    return result


def overload(stage: Stage, total: float, times: int) -> dict[str, Any]:
    """A few requests a second that are checked, and in the middle a flood of ``times`` what was held beside them."""
    since, memory = started(stage), Memory(stage)
    with running(*both(stage, CHECKED), seconds=300) as traffic, memory.watching():
        traffic.until(10)
        traffic.mark("overload")
        with flooding(floods(stage), times * total, OVERLOAD_SECONDS) as flood:
            time.sleep(OVERLOAD_SECONDS)
            ended = traffic.now
            traffic.mark("after")
        traffic.until(ended + RECOVERY_SECONDS)
        outcome = traffic.finish()
    late = [failure[1] for failure in outcome["failures"] if failure[1] > ended]
    result = {
        "name": f"overload {times} times",
        "path": "both",
        "rate": round(times * total),
        "flood": flood,
        "refused": sum(one["refused"] for one in flood),
        "recovered_after": round(max(late, default=ended) - ended, 1),
        "crashed": started(stage) != since,
        "memory_peak_mib": {name: max(held for _, held in samples) for name, samples in memory.samples.items()},
        **outcome,
    }
    print(f"overload: {({key: result[key] for key in result if key not in ('failures', 'groups')})}", flush=True)
    return result
