"""Deploys, good and bad, and the way back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.scenario import watch
from tests.chaos.stage import CALLED, CRASH, HANG, Stage
from tests.chaos.traffic import Traffic, beyond, senders

BEYOND = 60.0  # seconds of a stream that a drain does not wait for


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """Every scenario whose name has ``only`` in it, on each of ``paths``, on one stack."""
    with tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder:
        stage = Stage(Path(folder) / "stack")
        try:
            stage.deploy()
            for path in paths:
                yield from (scenario(stage, path) for name, scenario in SCENARIOS.items() if only in name)
        finally:
            stage.close()


def good(stage: Stage, path: str) -> dict[str, Any]:
    """Both services replaced by a version that works."""

    def change(_: Traffic) -> dict[str, Any]:
        stage.version()
        return stage.deploy()

    chosen = senders(stage, path, extra=lambda wanted: beyond(wanted, BEYOND))
    return watch("good deploy", path, chosen, change)


def one_of_two(stage: Stage, path: str) -> dict[str, Any]:
    """`web` alone is replaced: `rpc` keeps its pod."""
    before = stage.kit.pods()

    def change(_: Traffic) -> dict[str, Any]:
        stage.version("web")
        return stage.deploy()

    result = watch("one of two services redeployed", path, senders(stage, path), change)
    after = stage.kit.pods()
    result["replaced"] = sorted(name for name in before if before[name] != after.get(name))
    return result


def bad(stage: Stage, path: str, name: str, code: str) -> dict[str, Any]:
    """Both services get a version that does not work; the deploy fails, and the old ones go on."""

    def change(_: Traffic) -> dict[str, Any]:
        stage.bad_version(code)
        return stage.deploy(check=5)

    return watch(name, path, senders(stage, path), change)


def rollback(stage: Stage, path: str) -> dict[str, Any]:
    """`iac rollback` of one service, then of the other, each to the generation before."""
    listed = ("--file", str(stage.kit.list_file))
    stage.version()
    stage.deploy()

    def change(_: Traffic) -> dict[str, Any]:
        return {"exit": [stage.kit.iac("rollback", *listed, name, check=None).returncode for name in CALLED]}

    result = watch("rollback of both services", path, senders(stage, path), change)
    for name in CALLED:
        stage.kit.iac("update", *listed, name)  # a service that was rolled back is held there until then
    stage.deploy()
    return result


SCENARIOS: dict[str, Callable[[Stage, str], dict[str, Any]]] = {
    "good deploy": good,
    "one of two services redeployed": one_of_two,
    "bad deploy: crashes": lambda stage, path: bad(stage, path, "bad deploy: crashes", CRASH),
    "bad deploy: never listens": lambda stage, path: bad(stage, path, "bad deploy: never listens", HANG),
    "rollback of both services": rollback,
}
