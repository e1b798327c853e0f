"""A mesh to attack, certificates that nobody should take, and the record of what was seen, for docs/security.md."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support import certificates as forge
from tests.support.mesh import Mesh, Pod

HERE = Path(__file__).parent
WEB = "spiffe://karst.local/svc/web"
HOUR = dt.timedelta(hours=1)
Record = Callable[[str, str, str, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for mark in (pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180)):
                item.add_marker(mark)
            item.add_marker(pytest.mark.xdist_group("security"))


@pytest.fixture(scope="session")
def record() -> Iterator[Record]:
    """Note (what, from where, with what, what was seen); written to the file that KARST_TEST_REPORT names."""
    rows: list[tuple[str, str, str, str]] = []
    yield lambda what, where, client, seen: rows.append((what, where, client, seen))
    if path := os.environ.get("KARST_TEST_REPORT"):
        Path(path).write_text(json.dumps(rows))


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """`web` and `api`; `no` lets only `api` in. The neighbour and the host hold forged certificates."""
    made = Mesh(tmp_path_factory.mktemp("security"))
    try:
        made.up(
            [
                Pod("web", bind="0.0.0.0", aliases=("impostor",)),
                Pod("api", port=5000),
                Pod("no", app="h2c", variables={"callers": ["spiffe://karst.local/svc/api"]}),
            ]
        )
        for name, content in _forged(made).items():
            made.put(f"{name}.pem", content)
        yield made
    finally:
        made.close()


def _forged(mesh: Mesh) -> dict[str, bytes]:
    authority = x509.load_pem_x509_certificate((mesh.secrets / "ca.pem").read_bytes())
    key = load_pem_private_key((mesh.secrets / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    other_key = forge.new_key()
    other = forge.authority("foreign", other_key)
    return {
        "good": forge.leaf(authority, key, uris=[WEB]),
        "another authority": forge.leaf(other, other_key, uris=[WEB]),
        "expired": forge.leaf(authority, key, uris=[WEB], begin=-2 * HOUR, end=-HOUR),
        "not yet valid": forge.leaf(authority, key, uris=[WEB], begin=HOUR, end=2 * HOUR),
        "another trust domain": forge.leaf(authority, key, uris=["spiffe://karst.example/svc/web"]),
        "no URI": forge.leaf(authority, key, uris=[], dns=["web"]),
        "a URI that is no service's": forge.leaf(authority, key, uris=["spiffe://karst.local/user/root"]),
        "two URIs": forge.leaf(authority, key, uris=[WEB, "spiffe://karst.local/ops/operator"]),
    }
