"""What was changed by `docker update`, told from what was given."""

from __future__ import annotations

from typing import Any

import pytest

from karst.deployed import Recorded
from karst.limits import MIB, by_deploy, in_place, to_replace

THEN = {"memory": 256, "memory_swap": 256, "restart": "unless-stopped", "cpus": None, "cpu_shares": None, "cpu_set": ""}
NOW = {"Memory": 256 * MIB, "MemorySwap": 256 * MIB, "RestartPolicy": {"Name": "unless-stopped"}, "PidsLimit": None}


def test_what_was_given_is_no_difference() -> None:
    assert in_place(THEN, NOW) == by_deploy(THEN, NOW) == []
    unlimited = {"restart": "no"}
    assert in_place(unlimited, {"RestartPolicy": {"Name": "no"}, "MemorySwap": -1}) == []
    assert by_deploy({"cpus": "0.5"}, {"NanoCpus": 500_000_000}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"Memory": 64 * MIB, "MemorySwap": 64 * MIB}, "memory is 64 MiB instead of 256"),
        ({"Memory": 0, "MemorySwap": 0}, "memory is no limit instead of 256"),
        ({"MemorySwap": 512 * MIB}, "memory with swap is 512 MiB instead of 256"),
        ({"PidsLimit": 20}, "it may have 20 processes instead of any number"),
        ({"RestartPolicy": {"Name": "no"}}, "restart policy is `no` instead of `unless-stopped`"),
    ],
)
def test_what_can_be_set_back_is_told(change: dict[str, Any], told: str) -> None:
    assert in_place(THEN, NOW | change) == [told]
    assert by_deploy(THEN, NOW | change) == []


def test_swap_that_the_engine_cannot_limit_is_no_difference() -> None:
    assert in_place(THEN, NOW | {"MemorySwap": -1}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"NanoCpus": 500_000_000}, "it may use 0.5 CPUs instead of all CPUs"),
        ({"CpuQuota": 150_000}, "it may use 1.5 CPUs instead of all CPUs"),
        ({"CpuShares": 512}, "its CPU shares are 512 instead of 0"),
        ({"CpusetCpus": "0"}, "it is bound to the CPUs 0"),
    ],
)
def test_what_takes_a_new_container_is_told(change: dict[str, Any], told: str) -> None:
    assert by_deploy(THEN, NOW | change) == [told]
    assert in_place(THEN, NOW | change) == []


def test_only_the_pod_of_a_changed_member_is_to_be_replaced() -> None:
    """Whole, by Terraform's address; neither one that goes anyway nor one whose container is gone."""

    def recorded(identifier: str, role: str, number: int, *, deposed: bool = False) -> Recorded:
        address = f'module.karst_service.docker_container.{role}["web-{number}"]'
        return Recorded(identifier, "web", role, deposed, {}, number, address)

    record = [recorded(f"{role}{number}", role, number) for number in (1, 2, 3) for role in ("pod", "app", "sidecar")]
    record.append(recorded("old", "app", 1, deposed=True))
    half = {"HostConfig": {"NanoCpus": 500_000_000}}
    details = {one.id: {"HostConfig": {}} for one in record} | {"app2": half, "old": half}
    del details["app3"]
    assert to_replace(record, details) == ['module.karst_service.docker_container.pod["web-2"]']
    edge = Recorded("edge1", "edge", "edge", False, {}, address="module.karst_mesh.docker_container.edge")
    assert to_replace([edge], {"edge1": half}) == [edge.address]
