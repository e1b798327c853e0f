"""`iac certs` on a stack that runs: what is in use, and new leaves without a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]


def listed(kit: Kit, *arguments: str) -> dict[str, dict[str, Any]]:
    answer = json.loads(kit.iac("certs", *arguments, "--json").stdout)
    return {row["name"]: row for row in answer["identities"]}


def test_each_running_envoy_is_asked_for_the_certificate_it_uses(kit: Kit) -> None:
    """`--check` ends with 0: all is as it should be."""
    rows = listed(kit, "--check")
    assert {name: row["served"] for name, row in rows.items()} == {
        "hello": "yes",
        "caller": "yes",
        "job": "yes",
        "ops/edge": "yes",
        "ops/operator": "-",
    }


def test_new_leaves_are_in_use_at_once_and_nothing_is_restarted(kit: Kit) -> None:
    before, running = listed(kit), {row["Id"]: row["State"]["StartedAt"] for row in kit.containers()}
    after = listed(kit, "rotate", "hello", "edge")
    assert {name for name in after if after[name]["serial"] != before[name]["serial"]} == {"hello", "ops/edge"}
    assert {row["served"] for row in after.values()} == {"yes", "-"}
    assert {row["Id"]: row["State"]["StartedAt"] for row in kit.containers()} == running
    kit.health()
