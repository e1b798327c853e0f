"""Addresses: those of a stack's network, one for each pod, and the engine's ranges, one for each network."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.scale.shortages import bench
from tests.support.engine import Engine

SMALL = "--default-address-pool=base=10.251.0.0/22,size=28"
LARGE = "--default-address-pool=base=10.252.0.0/16,size=22"


def network() -> dict[str, Any]:
    """Networks of sixteen addresses: one is the network's, one the gateway's, one for broadcasts, one the edge's."""
    with bench.private("addresses", "addresses of a stack's network", [SMALL]) as b:
        b.begin()
        b.short("`default-address-pools` of `/28`")
        b.breaks()
        b.kit.iac("destroy", "--yes")
        b.engine.stop()
        b.engine.options = (LARGE,)
        b.engine.start()
        b.past("`iac destroy`, the engine started with pools of `/22`, `iac deploy`")
        return b.result


def pools() -> dict[str, Any]:
    """The engine's own ranges, taken by networks of others; then more of them."""
    with bench.private("pools", "networks of an engine, one for each stack") as b:
        there = _fill(b.engine)
        b.short(f"Docker's default: {there} networks beside its own, all taken")
        b.breaks(bench.FEW)
        b.engine.stop()
        b.engine.options = (LARGE,)
        b.engine.start()
        b.past("the engine started with a pool of 64 × `/22`")
        return b.result


def _fill(engine: Engine) -> int:
    """Make networks until there is no range left; return how many there were."""
    with contextlib.suppress(AssertionError):
        for number in range(1000):
            engine.docker("network", "create", f"fill-{number}")
    return len(engine.docker("network", "ls", "--quiet", "--filter", "name=^fill-").split())
