"""step-ca as the issuer: what is refused before anything is asked, and a real one on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from karst.errors import KarstError, UsageError
from karst.identity import ca_rotation, handle, renew, served
from karst.identity.issuers.step_ca_api import Api, key_of, token
from karst.identity.settings import lifetime
from karst.identity.store import Store
from karst.stack import resolve
from tests.support import certificates as forge
from tests.support.step_ca import PASSWORD, StepCaServer, step_ca

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("web", "ops/operator")
# What `step ca init` wrote, with the password "pw123456".
PROVISIONER = {
    "type": "JWK",
    "name": "karst",
    "key": {"kid": "RIS2QrMDDkS5IptEVRVmtd872v39eOPku7ZIGMjFfYg", "alg": "ES256"},
    "encryptedKey": (
        "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjYwMDAwMCwicDJz"
        "IjoiRTd1NkVFODg3REJDZmF1X0FkOVRtUSJ9.w_XjI88sVV6DMhCWDWZv8F3WrZqRaJUSt4jfLTzt79rnNSfntF1w_w.WCcXgu36nw4M"
        "uwaO.0WRQsCC_YTEpLdr4r4wvl5R0ZsroiD1koq2-Drzmc_5n97OrX00qp-ocrbQxdA64Id2fo0-u2VKIdOMbG9gs7y2rv8ylsxm0jwLz"
        "Vgc0uRX44lxMnFcrrG80a-hzb_riQrVkAzl2-BqKpFmxvbE1AX7sIXP03QrIPx6LNTDPDlKFJ473yUcSqtImHUICilkI7jspJriqu-AJ"
        "4OEZ70puXhtXgWaz_8ki80F2XX0JfGESheTVkRLs9p8L3HKWmcwyzvtY54nHeGf33G4TcFCIFkJIzxfKG_8YxAeuXJQ0L--CxABuYMXh"
        "oU_XU80ByWtUOKI9LiAaUGP0y2x1ikQ.GogwAL6QOdZmiV0yugoP7w"
    ),
}


def issue(secrets: Path, *names: str) -> dict[str, str]:
    return handle({"secrets_dir": str(secrets), "services": json.dumps(names or NAMES)})


def chain(secrets: Path, name: str = "web") -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((secrets / "mesh" / name / "svid.pem").read_bytes())


def settle(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_the_key_that_step_wrote_opens_with_its_password() -> None:
    """Its thumbprint is the provisioner's key id, so that it is the right one."""
    import jwt

    key = key_of(PROVISIONER, b"pw123456", "karst")
    signed = token(key, "karst", audience="https://ca/1.0/sign", name="web", sans=["web"])
    public = jwt.PyJWK.from_dict({name: value for name, value in key.items() if name != "d"}, algorithm="ES256")
    claims = jwt.decode(signed, public.key, algorithms=["ES256"], audience="https://ca/1.0/sign")
    assert (claims["iss"], claims["sub"], claims["sans"]) == ("karst", "web", ["web"])
    assert jwt.get_unverified_header(signed)["kid"] == PROVISIONER["key"]["kid"]  # type: ignore[index]


def test_a_wrong_password_is_said_to_be_one() -> None:
    with pytest.raises(UsageError, match="the password does not open the key of provisioner `karst`"):
        key_of(PROVISIONER, b"pw12345", "karst")


@pytest.mark.parametrize("encrypted", ["a.b.c", "....", "e30.e30.e30.e30.e30", "ä.b.c.d.e"])
def test_a_key_in_another_form_is_refused(encrypted: str) -> None:
    with pytest.raises(KarstError, match="in a way that the kit does not know"):
        key_of({**PROVISIONER, "encryptedKey": encrypted}, b"x", "karst")


def test_a_key_that_the_ca_keeps_to_itself_is_said_to_be_missing() -> None:
    with pytest.raises(UsageError, match="does not hand out the key"):
        key_of({"key": {"kid": "x"}}, b"x", "karst")


@pytest.mark.parametrize("missing", ["URL", "PROVISIONER", "FINGERPRINT"])
def test_a_setting_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str) -> None:
    settle(monkeypatch, StepCaServer("https://127.0.0.1:1", tmp_path, "00", tmp_path).environment())
    monkeypatch.delenv(f"KARST_STEP_CA_{missing}")
    with pytest.raises(UsageError, match=f"KARST_STEP_CA_{missing} is not set"):
        issue(tmp_path / "secrets")


def test_an_issuer_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KARST_ISSUER", "stepca")
    with pytest.raises(UsageError, match="KARST_ISSUER is `stepca`") as caught:
        issue(tmp_path)
    assert caught.value.hint == "did you mean `step-ca`?"


def test_a_ca_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(KarstError, match="cannot be asked for the root certificate: Connection refused"):
        Api("https://127.0.0.1:1", None).root("00")


# ------------------------------------------------------------------------------------------------- against a real one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepCaServer]:
    with step_ca(tmp_path_factory.mktemp("step-ca")) as running:
        yield running


@pytest.fixture
def real(server: StepCaServer, monkeypatch: pytest.MonkeyPatch) -> StepCaServer:
    settle(monkeypatch, server.environment())
    return server


@pytest.mark.slow
def test_a_leaf_has_the_names_of_its_identity_and_leads_to_the_root(real: StepCaServer, tmp_path: Path) -> None:
    answer = issue(tmp_path)
    [root] = x509.load_pem_x509_certificates(real.root.read_bytes())
    assert answer["ca_fingerprint"] == real.fingerprint
    assert x509.load_pem_x509_certificates((tmp_path / "mesh" / "web" / "ca.pem").read_bytes()) == [root]
    leaf, intermediate = chain(tmp_path)
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://karst.local/svc/web"]
    assert set(names.get_values_for_type(x509.DNSName)) == {"web", "web.iacnet"}
    assert not (tmp_path / "ca.key").exists()


@pytest.mark.slow
def test_what_is_good_already_needs_no_ca(real: StepCaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan asks for all identities: it must not stop when the CA is down."""
    first = issue(tmp_path)
    monkeypatch.setenv("KARST_STEP_CA_URL", "https://127.0.0.1:1")
    assert issue(tmp_path) == first
    with pytest.raises(KarstError, match="cannot be asked for its provisioners"):
        issue(tmp_path, "api")


@pytest.mark.slow
def test_without_a_password_a_good_leaf_is_renewed_with_a_new_key_and_none_is_issued(
    real: StepCaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that renews need not be able to make any identity."""
    issue(tmp_path)
    before, key = chain(tmp_path)[0], (tmp_path / "web.key").read_bytes()
    monkeypatch.delenv("KARST_STEP_CA_PASSWORD_FILE")
    store = Store(tmp_path, lifetime=before.not_valid_after_utc - before.not_valid_before_utc)
    with store.locked():
        known = store.known()
        store.ensure(known, anew=known)
    after = chain(tmp_path)[0]
    names = x509.SubjectAlternativeName
    assert after.serial_number != before.serial_number
    assert after.extensions.get_extension_for_class(names) == before.extensions.get_extension_for_class(names)
    assert (tmp_path / "web.key").read_bytes() != key
    assert after.public_key() != before.public_key()
    assert {one["name"] for one in renew(tmp_path)} == set(NAMES)
    with pytest.raises(UsageError, match="there is no password for it"):
        issue(tmp_path, "api")


@pytest.mark.slow
def test_a_refusal_is_one_sentence_with_what_to_do(
    real: StepCaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KARST_CERT_LIFETIME", "7d")
    with pytest.raises(KarstError, match=r"duration of 168h.* is more than the authorized maximum") as caught:
        issue(tmp_path)
    assert "KARST_CERT_LIFETIME=24h" in caught.value.hint
    monkeypatch.setenv("KARST_CERT_LIFETIME", "24h")
    monkeypatch.setenv("KARST_STEP_CA_PROVISIONER", "kast")
    with pytest.raises(UsageError, match="has no JWK provisioner `kast`"):
        issue(tmp_path)
    monkeypatch.setenv("KARST_STEP_CA_PROVISIONER", "karst")
    monkeypatch.setenv("KARST_STEP_CA_FINGERPRINT", "0" * 64)
    with pytest.raises(KarstError, match=r"refused the root certificate|fingerprint is not the one"):
        issue(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sans", "reason"),
    [
        (["web", "spiffe://karst.local/svc/web", "spiffe://karst.local/ops/operator"], "exactly one URI"),
        (["web"], "exactly one URI"),
        (["web", "spiffe://karst.example/svc/web"], "no identity of the trust domain"),
        (["web", "spiffe://karst.local/user/root"], "no identity of the trust domain"),
    ],
)
def test_the_template_of_the_docs_refuses(real: StepCaServer, sans: list[str], reason: str) -> None:
    """Whoever has the provisioner's password still cannot have a certificate for two, or for somebody elsewhere."""
    import ssl

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    api = Api(real.url, ssl.create_default_context(cafile=str(real.root)))
    key = key_of(api.provisioner("karst"), PASSWORD.encode(), "karst")
    names = [x509.UniformResourceIdentifier(one) if "://" in one else x509.DNSName(one) for one in sans]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(forge.new_key(), hashes.SHA256())
    )
    body = {
        "csr": request.public_bytes(serialization.Encoding.PEM).decode(),
        "ott": token(key, "karst", audience=f"{real.url}/1.0/sign", name="web", sans=sans),
    }
    with pytest.raises(KarstError, match=reason):
        api.certify("/1.0/sign", body, "web")


@pytest.mark.slow
def test_a_root_that_is_not_the_cas_is_not_trusted(
    real: StepCaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password goes nowhere, and no certificate comes from, a server that only says it is the CA."""
    other = tmp_path / "other.pem"
    other.write_bytes(forge.pem(forge.authority("other", forge.new_key())))
    monkeypatch.setenv("KARST_STEP_CA_ROOT", str(other))
    with pytest.raises(KarstError, match="is not trusted by the configured root"):
        issue(tmp_path / "secrets")


@pytest.mark.slow
def test_an_authority_from_before_stays_trusted_and_its_leaves_are_replaced(
    real: StepCaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("KARST_ISSUER", "files")
        issue(tmp_path)
    [old] = x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes())
    issue(tmp_path)
    [root] = x509.load_pem_x509_certificates(real.root.read_bytes())
    assert x509.load_pem_x509_certificates((tmp_path / "mesh" / "web" / "ca.pem").read_bytes()) == [root, old]
    assert chain(tmp_path)[0].issuer != old.subject


@pytest.mark.slow
def test_no_password_key_or_token_is_in_what_terraform_keeps(real: StepCaServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "identity")],
        input=json.dumps({"secrets_dir": str(tmp_path), "services": json.dumps(NAMES)}),
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert PASSWORD not in done.stdout + done.stderr
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    assert "eyJ" not in done.stdout + done.stderr


@pytest.mark.slow
def test_from_a_key_in_the_folder_to_the_ca_in_three_steps_each_of_which_may_be_the_last_before_a_kill(
    real: StepCaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the others do not trust the CA yet, the old key goes on issuing, in deploys too."""
    monkeypatch.setattr(served, "running", lambda stack: [])
    monkeypatch.setattr(served, "others", lambda stack: [])
    with monkeypatch.context() as patch:
        patch.setenv("KARST_ISSUER", "files")
        issue(tmp_path)
    [old], [root] = (x509.load_pem_x509_certificates(path.read_bytes()) for path in (tmp_path / "ca.pem", real.root))
    stack = resolve(name="team-a", secrets_dir=str(tmp_path))
    states = []

    def rotation() -> ca_rotation.Rotation:
        return ca_rotation.Rotation(stack, Store(tmp_path, lifetime=lifetime()), say=lambda line: None, timeout=1)

    def stop(*_: object, **__: object) -> None:
        issue(tmp_path)  # a deploy comes in between
        states.append((chain(tmp_path)[0].issuer == old.subject, x509.load_pem_x509_certificates(bundle.read_bytes())))
        raise KarstError("stopped here")

    bundle = tmp_path / "mesh" / "web" / "ca.pem"
    for following in ("issue", "drop", "clean"):
        with monkeypatch.context() as patch:
            patch.setattr(ca_rotation, "await_in_step", stop)
            with pytest.raises(KarstError, match="stopped here"):
                rotation().run()
        (tmp_path / "rotation" / "state.json").write_text(json.dumps({"step": following}))
    with monkeypatch.context() as patch:
        patch.setenv("KARST_ISSUER", "files")
        (tmp_path / "rotation" / "state.json").write_text(json.dumps({"step": "drop"}))
        with pytest.raises(UsageError, match="needs KARST_ISSUER to be `step-ca`"):
            rotation().run()
    rotation().run()
    assert states == [(True, [root, old]), (False, [old, root]), (False, [root])]
    assert x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes()) == [root]
    assert not (tmp_path / "ca.key").exists()
    assert not (tmp_path / "rotation").exists()
    with pytest.raises(UsageError, match="the authority is step-ca"):
        rotation().run()
