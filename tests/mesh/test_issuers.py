"""Authorities that are not the kit's own, against the real Envoy: both ends of a connection accept what they issue."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import certificates as forge
from tests.support.mesh import Mesh, Pod
from tests.support.step_ca import step_ca

pytestmark = pytest.mark.slow

WEB = "spiffe://karst.local/svc/web"


@contextlib.contextmanager
def two_services(folder: Path) -> Iterator[Mesh]:
    mesh = Mesh(folder)
    try:
        yield mesh
    finally:
        mesh.close()


def called(mesh: Mesh) -> str:
    """Who `api` says has called it, when `web` does, through both sidecars."""
    answer = mesh.call("web", "http://api/")
    assert answer["status"] == 200, answer
    return str(json.loads(answer["body"])["headers"]["x-forwarded-client-cert"])


def chain(mesh: Mesh, name: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((mesh.secrets / "mesh" / name / "svid.pem").read_bytes())


def test_leaves_of_a_real_step_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody trusts the root alone; the intermediate comes with each leaf, from both sides."""
    ca, mesh_folder = tmp_path / "ca", tmp_path / "mesh"
    ca.mkdir()
    mesh_folder.mkdir()
    with step_ca(ca) as server, two_services(mesh_folder) as mesh:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        mesh.up([Pod("web"), Pod("api")])
        assert called(mesh).endswith(f"URI={WEB}")
        assert "Intermediate" in chain(mesh, "api")[0].issuer.rfc4514_string()
        assert mesh.knock("web.pem", "api")["status"] == 200
        key = forge.new_key()
        mesh.put("foreign.pem", forge.leaf(forge.authority("foreign", key), key, uris=[WEB]))
        assert "error" in mesh.knock("foreign.pem", "api")


def test_an_intermediate_of_ones_own_whose_root_key_is_elsewhere(tmp_path: Path) -> None:
    """Root, intermediate, leaf: the kit holds the key of the intermediate only, and a client the root only."""
    root_key, key, other_key = forge.new_key("rsa"), forge.new_key(), forge.new_key()
    root = forge.authority("root", root_key)
    issuing = forge.authority("issuing", key, issuer=root, issuer_key=root_key)
    with two_services(tmp_path) as mesh:
        mesh.secrets.mkdir()
        (mesh.secrets / "ca.pem").write_bytes(forge.pem(root, issuing))
        (mesh.secrets / "ca.key").write_bytes(forge.pem(key))
        mesh.up([Pod("web"), Pod("api")])
        assert called(mesh).endswith(f"URI={WEB}")
        assert chain(mesh, "api")[1:] == [issuing]
        mesh.put("ca.pem", forge.pem(root))
        assert mesh.knock("web.pem", "api")["status"] == 200, "the chain that is shown leads to the root"
        other = forge.authority("other", other_key)
        mesh.put("other.pem", forge.leaf(other, other_key, uris=[WEB]))
        assert "error" in mesh.knock("other.pem", "api")
