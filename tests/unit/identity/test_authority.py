"""Whose certificate authority it is: the kit's own for development, or one that people bring along."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from karst.errors import KarstError
from karst.identity import handle
from tests.support import certificates as forge


def issue(secrets: Path, name: str = "web") -> dict[str, str]:
    return handle({"secrets_dir": str(secrets), "services": json.dumps([name])})


def bring(secrets: Path, certificates: bytes, key: bytes) -> None:
    (secrets / "ca.pem").write_bytes(certificates)
    (secrets / "ca.key").write_bytes(key)


def chain_of(secrets: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((secrets / "mesh" / "web" / "svid.pem").read_bytes())


def test_an_authority_is_made_only_when_there_is_none(tmp_path: Path) -> None:
    first = issue(tmp_path)["ca_fingerprint"]
    assert issue(tmp_path)["ca_fingerprint"] == first
    own = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert own.issuer == own.subject


@pytest.mark.parametrize(("gone", "left"), [("ca.pem", "ca.key"), ("ca.key", "ca.pem")])
def test_half_an_authority_is_refused_and_not_replaced(tmp_path: Path, gone: str, left: str) -> None:
    """Making a new one would cut off every service that trusts the old one."""
    issue(tmp_path)
    (tmp_path / gone).unlink()
    kept = (tmp_path / left).read_bytes()
    with pytest.raises(KarstError, match=f"{gone} is missing, and {left}"):
        issue(tmp_path)
    assert not (tmp_path / gone).exists()
    assert (tmp_path / left).read_bytes() == kept


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    bring(tmp_path, forge.pem(forge.authority("one", forge.new_key())), forge.pem(forge.new_key()))
    with pytest.raises(KarstError, match="is not the key of any certificate"):
        issue(tmp_path)
    assert not (tmp_path / "mesh").exists()


@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa"])
def test_somebodys_own_authority_just_works(tmp_path: Path, kind: str) -> None:
    key = forge.new_key(kind)
    root = forge.authority("ours", key)
    bring(tmp_path, forge.pem(root), forge.pem(key))
    issue(tmp_path)
    [leaf] = chain_of(tmp_path)
    leaf.verify_directly_issued_by(root)


@pytest.mark.parametrize("root_first", [True, False])
def test_intermediates_travel_with_the_leaf_and_the_root_does_not(tmp_path: Path, root_first: bool) -> None:
    """A peer that knows only the root has to be given the way to it, in order, from whatever order `ca.pem` has."""
    keys = [forge.new_key(kind) for kind in ("rsa", "ec", "ec384")]
    root = forge.authority("root", keys[0])
    upper = forge.authority("upper", keys[1], issuer=root, issuer_key=keys[0])
    lower = forge.authority("lower", keys[2], issuer=upper, issuer_key=keys[1])
    order = [root, upper, lower] if root_first else [lower, upper, root]
    bring(tmp_path, forge.pem(*order), forge.pem(keys[2]))
    issue(tmp_path)
    leaf, *rest = chain_of(tmp_path)
    leaf.verify_directly_issued_by(lower)
    assert rest == [lower, upper]
    trusted = x509.load_pem_x509_certificates((tmp_path / "mesh" / "web" / "ca.pem").read_bytes())
    assert trusted == order


def test_a_new_authority_takes_over_while_the_old_one_is_still_trusted(tmp_path: Path) -> None:
    """The three steps of a change without an outage."""
    issue(tmp_path)
    old_leaf = chain_of(tmp_path)[0]
    old = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    key = forge.new_key()
    new = forge.authority("new", key)

    (tmp_path / "ca.pem").write_bytes(forge.pem(old, new))
    issue(tmp_path)
    assert chain_of(tmp_path) == [old_leaf], "trusting one more authority renews nobody"

    (tmp_path / "ca.key").write_bytes(forge.pem(key))
    issue(tmp_path)
    chain_of(tmp_path)[0].verify_directly_issued_by(new)
    bundle = tmp_path / "mesh" / "web" / "ca.pem"
    assert x509.load_pem_x509_certificates(bundle.read_bytes()) == [old, new]

    (tmp_path / "ca.pem").write_bytes(forge.pem(new))
    issue(tmp_path)
    assert x509.load_pem_x509_certificates(bundle.read_bytes()) == [new]


def test_a_leaf_never_outlives_its_issuer(tmp_path: Path) -> None:
    key = forge.new_key()
    root = forge.authority("short", key, end=dt.timedelta(days=2))
    bring(tmp_path, forge.pem(root), forge.pem(key))
    issue(tmp_path)
    assert chain_of(tmp_path)[0].not_valid_after_utc == root.not_valid_after_utc


@pytest.mark.parametrize(
    ("begin", "end"), [(dt.timedelta(days=-9), dt.timedelta(days=-1)), (dt.timedelta(days=1), dt.timedelta(days=9))]
)
def test_an_authority_outside_its_validity_is_refused(tmp_path: Path, begin: dt.timedelta, end: dt.timedelta) -> None:
    key = forge.new_key()
    bring(tmp_path, forge.pem(forge.authority("late", key, begin=begin, end=end)), forge.pem(key))
    with pytest.raises(KarstError, match=r"`CN=late` in .* is valid from"):
        issue(tmp_path)


def test_a_certificate_that_is_no_authority_is_refused(tmp_path: Path) -> None:
    key = forge.new_key()
    bring(tmp_path, forge.pem(forge.authority("leaf", key, is_ca=False)), forge.pem(key))
    with pytest.raises(KarstError, match="may not issue others"):
        issue(tmp_path)


def test_an_encrypted_key_is_refused_with_the_way_to_decrypt_it(tmp_path: Path) -> None:
    key = forge.new_key()
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    bring(tmp_path, forge.pem(forge.authority("ours", key)), encrypted)
    with pytest.raises(KarstError, match="encrypted") as caught:
        issue(tmp_path)
    assert "openssl pkey" in caught.value.hint


@pytest.mark.parametrize(("certificates", "key"), [(b"", None), (b"garbage", None), (None, b"garbage"), (None, b"")])
def test_files_that_are_no_pem_are_named(tmp_path: Path, certificates: bytes | None, key: bytes | None) -> None:
    good = forge.new_key()
    root = forge.pem(forge.authority("ours", good))
    bring(tmp_path, root if certificates is None else certificates, forge.pem(good) if key is None else key)
    with pytest.raises(KarstError, match=r"ca\.pem holds no" if key is None else r"ca\.key is not a readable"):
        issue(tmp_path)


def test_a_kind_of_key_that_envoy_does_not_take_is_refused(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    bring(tmp_path, forge.pem(forge.authority("ours", forge.new_key())), pem)
    with pytest.raises(KarstError, match="neither an RSA nor an EC key"):
        issue(tmp_path)
