"""The certificates of the mesh: what is issued, when again, and what is left alone."""

from __future__ import annotations

import datetime as dt
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from karst.errors import KarstError, UsageError
from karst.identity import handle, renew
from karst.identity.names import Identity
from karst.identity.store import Store
from tests.support import certificates as forge

ROOT = Path(__file__).resolve().parents[3]


def issue(secrets: Path, *names: str, **more: str) -> dict[str, dict[str, str]]:
    """Call the external as Terraform does and decode the services."""
    result = handle({"secrets_dir": str(secrets), "services": json.dumps(names), **more})
    return json.loads(result["services"])


def certificate(secrets: Path, name: str = "web") -> x509.Certificate:
    return x509.load_pem_x509_certificate((secrets / "mesh" / name / "svid.pem").read_bytes())


def ensure_at(secrets: Path, now: dt.datetime, name: str = "web") -> str:
    store = Store(secrets, now=now)
    with store.locked():
        [issued] = store.ensure([Identity.parse(name, network="iacnet", trust_domain="karst.local")])
    return issued.fingerprint


def test_a_leaf_names_its_service_by_one_uri_and_two_dns_names(tmp_path: Path) -> None:
    """Envoy's rules compare the URI; curl and grpcurl check the DNS name."""
    issue(tmp_path, "web", network="meshnet")
    names = certificate(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://karst.local/svc/web"]
    assert names.get_values_for_type(x509.DNSName) == ["web", "web.meshnet"]


def test_a_leaf_is_a_p256_certificate_for_both_ends_of_a_connection(tmp_path: Path) -> None:
    issue(tmp_path, "web")
    leaf = certificate(tmp_path)
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)  # type: ignore[union-attr]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_leaf_is_valid_for_seven_days_and_backdated_a_few_minutes(tmp_path: Path) -> None:
    """A peer whose clock is behind must not refuse a certificate that was just made."""
    issue(tmp_path, "web")
    leaf, now = certificate(tmp_path), dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=4) < now - leaf.not_valid_before_utc < dt.timedelta(minutes=6)
    assert dt.timedelta(days=6, hours=23) < leaf.not_valid_after_utc - now <= dt.timedelta(days=7)


def test_the_tools_are_ops_and_have_no_dns_name(tmp_path: Path) -> None:
    services = issue(tmp_path, "ops/edge", "ops/operator")
    assert services["ops/edge"]["uri"] == "spiffe://karst.local/ops/edge"
    assert services["ops/edge"]["dir"] == str(tmp_path / "mesh" / "ops-edge")
    assert (tmp_path / "operator.crt").exists()
    assert (tmp_path / "operator.key").exists()
    names = certificate(tmp_path, "ops-edge").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == []


def test_certificate_and_key_are_there_for_people_too(tmp_path: Path) -> None:
    """OpenSSL itself checks that they belong together and that `ca.pem` vouches for them."""
    issue(tmp_path, "web")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "web.crt", tmp_path / "web.key")
    context.load_cert_chain(tmp_path / "mesh" / "web" / "svid.pem")
    assert b"PRIVATE KEY" not in (tmp_path / "web.crt").read_bytes()
    certificate(tmp_path).verify_directly_issued_by(
        x509.load_pem_x509_certificate((tmp_path / "mesh" / "web" / "ca.pem").read_bytes())
    )


def test_a_second_call_touches_nothing(tmp_path: Path) -> None:
    """Envoy reloads on every change of a file, and Terraform calls this in every plan."""
    first = issue(tmp_path, "web", "api")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert issue(tmp_path, "web", "api") == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_new_service_does_not_renew_the_others(tmp_path: Path) -> None:
    first = issue(tmp_path, "web")
    assert issue(tmp_path, "web", "api")["web"] == first["web"]


def test_renewal_begins_when_a_third_of_the_lifetime_is_left(tmp_path: Path) -> None:
    now = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    first = ensure_at(tmp_path, now)
    assert ensure_at(tmp_path, now + dt.timedelta(days=4, hours=15)) == first
    assert ensure_at(tmp_path, now + dt.timedelta(days=4, hours=17)) != first


def test_a_clock_that_was_in_the_future_is_mended(tmp_path: Path) -> None:
    """A leaf that is not valid yet would be refused by every peer."""
    ensure_at(tmp_path, dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    first = certificate(tmp_path)
    authority = (tmp_path / "ca.pem").read_bytes()
    key = forge.new_key()
    (tmp_path / "ca.pem").write_bytes(forge.pem(forge.authority("older", key, end=dt.timedelta(days=9999))) + authority)
    (tmp_path / "ca.key").write_bytes(forge.pem(key))
    issue(tmp_path, "web")
    assert certificate(tmp_path).not_valid_before_utc < first.not_valid_before_utc


@pytest.mark.parametrize("damage", ["gone", "empty", "garbage", "other key", "two URIs", "foreign CA", "other name"])
def test_a_wrong_leaf_is_replaced(tmp_path: Path, damage: str) -> None:
    issue(tmp_path, "web")
    svid = tmp_path / "mesh" / "web" / "svid.pem"
    ca_key = forge.new_key()
    foreign = forge.authority("foreign", ca_key)
    own, own_key = _authority(tmp_path)
    uri = "spiffe://karst.local/svc/web"
    dns = ("web", "web.iacnet")
    first = svid.read_bytes()
    match damage:
        case "gone":
            svid.unlink()
        case "empty":
            svid.write_bytes(b"")
        case "garbage":
            svid.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "other key":
            svid.write_bytes(first[: first.index(b"-----BEGIN PRIVATE")] + forge.pem(ca_key))
        case "two URIs":
            svid.write_bytes(forge.leaf(own, own_key, uris=[uri, "spiffe://karst.local/svc/api"], dns=dns))
        case "foreign CA":
            svid.write_bytes(forge.leaf(foreign, ca_key, uris=[uri], dns=dns))
        case "other name":
            svid.write_bytes(forge.leaf(own, own_key, uris=["spiffe://karst.local/svc/api"], dns=dns))
    damaged = svid.read_bytes() if svid.exists() else b""
    issue(tmp_path, "web")
    assert svid.read_bytes() not in (damaged, first)
    certificate(tmp_path).verify_directly_issued_by(own)


def test_the_copies_for_people_are_mended_from_what_the_sidecar_uses(tmp_path: Path) -> None:
    issue(tmp_path, "web")
    expected = (tmp_path / "web.key").read_bytes()
    (tmp_path / "web.key").write_text("lost")
    issue(tmp_path, "web")
    assert (tmp_path / "web.key").read_bytes() == expected


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    issue(tmp_path / "secrets", "web", "ops/operator")
    for path in (tmp_path / "secrets").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_rights_that_were_opened_are_closed_again(tmp_path: Path) -> None:
    issue(tmp_path, "web")
    (tmp_path / "web.key").chmod(0o644)
    (tmp_path / "mesh" / "web").chmod(0o755)
    issue(tmp_path, "web")
    assert (tmp_path / "web.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "mesh" / "web").stat().st_mode & 0o777 == 0o700


def test_the_owner_of_the_mounted_files_is_told_and_never_root(tmp_path: Path) -> None:
    """The sidecar runs as that owner, so that a 0600 key needs nobody to be root."""
    result = handle({"secrets_dir": str(tmp_path), "services": '["web"]'})
    info = (tmp_path / "mesh" / "web" / "svid.pem").stat()
    assert (result["uid"], result["gid"]) == (str(info.st_uid), str(info.st_gid))
    assert info.st_uid == (10001 if os.geteuid() == 0 else os.geteuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_files_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    """One `sudo make apply` must not lock the user out of the next plan."""
    os.chown(tmp_path, 4321, 4322)
    result = handle({"secrets_dir": str(tmp_path), "services": '["web", "ops/operator"]'})
    assert (result["uid"], result["gid"]) == ("4321", "4322")
    owners = {path.stat().st_uid for path in tmp_path.rglob("*") if path.name not in ("mesh", ".lock")}
    assert owners == {4321}


@pytest.mark.parametrize("name", ["ca", "operator", "ops-edge", "ops-operator"])
def test_a_service_cannot_take_the_kits_own_file_names(tmp_path: Path, name: str) -> None:
    """A service `ca` would write its key over the authority's."""
    with pytest.raises(UsageError, match="cannot be called"):
        issue(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "x", "../x", "a/b", "ops/root", "Web", "we b", "a" * 41, "web-", "-web", "web\n"])
def test_a_name_that_is_no_service_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a service name"):
        issue(tmp_path, name)


@pytest.mark.parametrize("query", [{}, {"secrets_dir": "x", "services": "{"}, {"secrets_dir": "x", "services": "{}"}])
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        handle(query)


def test_two_processes_at_once_agree_on_one_authority(tmp_path: Path) -> None:
    """Terraform asks for the edge's and for the services' certificates at the same time."""
    command = [sys.executable, str(ROOT / "scripts" / "identity"), "--secrets-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    processes = [
        subprocess.Popen([*command, name], env=environment, stdout=subprocess.PIPE, text=True)
        for name in ("web", "api", "ops/edge")
    ]
    answers = [json.loads(process.communicate(timeout=30)[0]) for process in processes]
    assert len({answer["ca_fingerprint"] for answer in answers}) == 1
    own, _ = _authority(tmp_path)
    for name in ("web", "api", "ops-edge"):
        certificate(tmp_path, name).verify_directly_issued_by(own)


def test_neither_answer_nor_output_holds_a_key(tmp_path: Path) -> None:
    """Terraform keeps the answer in its state."""
    command = [sys.executable, str(ROOT / "scripts" / "identity")]
    done = subprocess.run(
        command,
        input=json.dumps({"secrets_dir": str(tmp_path), "services": '["web", "ops/operator"]'}),
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    keys = list(tmp_path.rglob("*.key"))
    assert len(keys) == 3
    for path in keys:
        body = "".join(path.read_text().splitlines()[1:-1])
        for chunk in (body[i : i + 24] for i in range(0, len(body), 24)):
            assert chunk not in done.stdout + done.stderr


def test_fifty_services_that_are_right_already_are_quick(tmp_path: Path) -> None:
    """Every plan pays for this call."""
    names = [f"svc-{number}" for number in range(50)]
    issue(tmp_path, *names)
    begin = time.monotonic()
    issue(tmp_path, *names)
    assert time.monotonic() - begin < 0.5


@pytest.mark.parametrize("folder", ["file", "file/secrets"])
def test_a_file_where_the_folder_should_be_is_one_sentence(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KarstError, match="a file is in its way"):
        issue(tmp_path / folder, "web")


def test_renewal_by_a_timer_keeps_every_name(tmp_path: Path) -> None:
    """Nobody tells it which services there are, nor their network and trust domain."""
    issue(tmp_path, "web", "ops/edge", network="meshnet", trust_domain="other.example")
    first = certificate(tmp_path)
    assert [one["name"] for one in renew(tmp_path)] == ["ops/edge", "web"]
    assert certificate(tmp_path) == first, "nothing was due"
    now = dt.datetime.now(dt.UTC) + dt.timedelta(days=5)
    store = Store(tmp_path, now=now)
    with store.locked():
        store.ensure(store.known())
    names = certificate(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names == first.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert certificate(tmp_path) != first


def test_renewal_leaves_alone_what_the_kit_did_not_issue(tmp_path: Path) -> None:
    issue(tmp_path, "web")
    strange = tmp_path / "mesh" / "strange"
    strange.mkdir()
    (strange / "svid.pem").write_bytes(b"not a certificate")
    assert [one["name"] for one in renew(tmp_path)] == ["web"]
    assert (strange / "svid.pem").read_bytes() == b"not a certificate"


def test_renewal_in_a_wrong_folder_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no identities"):
        renew(tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []


def _authority(secrets: Path) -> tuple[x509.Certificate, forge.Key]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    own = x509.load_pem_x509_certificate((secrets / "ca.pem").read_bytes())
    key = load_pem_private_key((secrets / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return own, key
