"""Whether the pod's network is alive is read from the kernel's table of routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from karst_runner.network import attached

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ETH = "eth0\t00000000\t010013AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
LOOPBACK = "lo\t0000007F\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"


@pytest.mark.parametrize(
    ("table", "alive"), [(HEAD + ETH, True), (HEAD + LOOPBACK + ETH, True), (HEAD + LOOPBACK, False), (HEAD, False)]
)
def test_a_device_besides_loopback_has_a_route(tmp_path: Path, table: str, alive: bool) -> None:
    routes = tmp_path / "route"
    routes.write_text(table)
    assert attached(str(routes)) is alive


def test_a_kernel_that_does_not_tell_ends_nothing(tmp_path: Path) -> None:
    assert attached(str(tmp_path / "absent"))
