"""Identities replaced under load: every leaf, and the authority in its three steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.scenario import watch
from tests.chaos.stage import Stage
from tests.chaos.traffic import Traffic, senders


def run(paths: list[str], only: str = "") -> Iterator[dict[str, Any]]:
    """Rotations whose name has ``only`` in it, on each of ``paths``, on one stack; no container may start again."""
    with tempfile.TemporaryDirectory(prefix="karst-chaos-") as folder:
        stage = Stage(Path(folder) / "stack")
        try:
            stage.deploy()
            for path in paths:
                yield from (scenario(stage, path) for name, scenario in SCENARIOS.items() if only in name)
        finally:
            stage.close()


def started(stage: Stage) -> dict[str, str]:
    return {row["Id"]: row["State"]["StartedAt"] for row in stage.kit.containers()}


def leaves(stage: Stage, path: str) -> dict[str, Any]:
    """`iac certs rotate`, three times."""
    since = started(stage)

    def change(_: Traffic) -> dict[str, Any]:
        for _ in range(3):
            stage.kit.iac("certs", "rotate", "--yes")
            time.sleep(2)
        return {}

    result = watch("three rotations of all leaves", path, senders(stage, path), change)
    result["restarted"] = started(stage) != since
    return result


def authority(stage: Stage, path: str) -> dict[str, Any]:
    """`iac certs rotate --ca`."""
    since, trusted = started(stage), stage.kit.secrets_dir / "ca.pem"
    before = trusted.read_bytes()

    def change(_: Traffic) -> dict[str, Any]:
        stage.kit.iac("certs", "rotate", "--ca", "--yes")
        return {}

    result = watch("rotation of the CA", path, senders(stage, path), change)
    assert trusted.read_bytes() != before, "the authority is the old one"
    result["restarted"] = started(stage) != since
    return result


SCENARIOS = {"three rotations of all leaves": leaves, "rotation of the CA": authority}
