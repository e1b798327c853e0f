"""What was changed by `docker update`, told from what was given."""

from __future__ import annotations

from typing import Any

import pytest

from karst.limits import MIB, by_deploy, in_place

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
