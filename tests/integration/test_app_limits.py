"""What an app may use, on a stack that was really deployed: memory changes in place, and processes are bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import HELLO
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("stack")]


def _containers(kit: Kit) -> dict[str, dict[str, Any]]:
    return {row["Config"]["Labels"]["karst.role"]: row for row in kit.containers("web")}


def test_a_memory_limit_changes_in_place_and_processes_are_bounded(tmp_path: Path) -> None:
    """The same containers, started once, with another limit; the plan after it has nothing to do."""
    kit = Kit(tmp_path / "kit")
    (kit.home / "web").mkdir()
    (kit.home / "web" / "main.py").write_text(HELLO)
    try:
        kit.write_list([{"slug": "dir:web", "memory": "96m"}])
        kit.deploy()
        before = _containers(kit)
        assert before["app"]["HostConfig"]["Memory"] == 96 * 1024**2
        for role in ("app", "sidecar"):
            assert before[role]["HostConfig"]["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10240k"}
        limits = kit.docker("exec", before["app"]["Id"], "cat", "/proc/1/limits").splitlines()
        [processes] = [line.split()[-3:-1] for line in limits if line.startswith("Max processes")]
        assert processes == ["8192", "8192"]
        kit.write_list([{"slug": "dir:web", "memory": "128m"}])
        events = kit.deploy()
        [plan] = [event for event in events if event["type"] == "plan"]
        assert plan["services"]["web"]["action"] == "update"
        after = _containers(kit)
        assert after["app"]["HostConfig"]["Memory"] == 128 * 1024**2
        for role, row in before.items():
            assert (after[role]["Id"], after[role]["State"]["StartedAt"]) == (row["Id"], row["State"]["StartedAt"])
        again = kit.iac("plan", "--file", str(kit.list_file), "--json", "--detailed-exitcode")
        assert {one["action"] for one in json.loads(again.stdout)["services"].values()} <= {"none"}
    finally:
        kit.destroy()
