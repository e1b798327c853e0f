"""One mesh for all tests of this folder: starting it is what takes the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mesh import Mesh, Pod

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it needs an engine, and all of it goes to one worker."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.xdist_group("mesh"))


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """`web` listens to everybody, `api` to loopback on a port nobody told; `no` speaks gRPC and lets only `api` in."""
    made = Mesh(tmp_path_factory.mktemp("mesh"))
    try:
        made.up(
            [
                Pod("web", bind="0.0.0.0", aliases=("impostor",)),
                Pod("api", port=5000, variables={"expose": True}),
                Pod("no", app="h2c", variables={"callers": ["spiffe://karst.local/svc/api"]}),
            ]
        )
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two services whose certificates, authority and pods the tests replace."""
    made = Mesh(tmp_path_factory.mktemp("changing"))
    try:
        made.up([Pod("web"), Pod("api", bind="::", port=5000, environment={"KARST_DRAIN_LIMIT": "8"})])
        yield made
    finally:
        made.close()
