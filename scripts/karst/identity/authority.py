"""The certificate authority: `<secrets>/ca.pem` and `ca.key`, the user's own or one made for development.

`ca.pem` may hold several certificates: the one whose key is `ca.key` issues; its ancestors travel with each leaf; all
of them together are what the mesh trusts. That is also how an authority is changed without an outage
(docs/identity.md): trust old and new, issue from the new one, drop the old one.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from karst.errors import KarstError

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
BACKDATE = dt.timedelta(minutes=5)  # a peer whose clock is a little behind must not see "not yet valid"
DEVELOPMENT = "KarstKit development CA"  # the name of those that the kit makes begins so
DEV_CA_LIFETIME = dt.timedelta(days=5 * 365)


@dataclass(frozen=True)
class Authority:
    """What issues leaves.

    Attributes:
        certificate: the issuing certificate.
        key: its private key.
        chain: what follows a leaf in `svid.pem`, the issuer first, no root; empty when the issuer is the root.
        bundle: every certificate of `ca.pem`, in PEM: what the mesh trusts.
    """

    certificate: x509.Certificate
    key: SigningKey
    chain: tuple[x509.Certificate, ...]
    bundle: bytes

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def make(now: dt.datetime) -> tuple[bytes, bytes]:
    """Return (certificate, key) in PEM of a new development authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{DEVELOPMENT} {x509.random_serial_number():x}"[:48])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # key_cert_sign, crl_sign
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + DEV_CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), pem_key(key)


def pem_key(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load(certificates: bytes, key: bytes, *, ca_pem: Path, ca_key: Path, now: dt.datetime) -> Authority:
    """Read the contents of `ca.pem` and `ca.key`; the paths are for the sentence of a KarstError."""
    try:
        found = x509.load_pem_x509_certificates(certificates)
    except ValueError as err:
        raise KarstError(f"{ca_pem} holds no readable PEM certificate ({err})", code="ca_unreadable") from err
    private = _load_key(key, ca_key)
    own = [one for one in found if _is_of(one, private)]
    if not own:
        raise KarstError(
            f"{ca_key} is not the key of any certificate in {ca_pem}",
            hint="put the pair that belongs together there, or remove both to get a new development CA",
            code="ca_key_mismatch",
        )
    issuer = max(own, key=lambda one: one.not_valid_after_utc)  # a renewed certificate of the same key may be beside it
    _check_may_issue(issuer, ca_pem, now)
    bundle = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found)
    return Authority(issuer, private, _chain(issuer, found), bundle)


def _is_of(certificate: x509.Certificate, key: SigningKey) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):  # of a kind that is not known here, and so not of this one
        return False


def _load_key(pem: bytes, ca_key: Path) -> SigningKey:
    key: object
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except UnsupportedAlgorithm:
        key = None
    except TypeError as err:
        raise KarstError(
            f"{ca_key} is encrypted, and nobody is there to type its passphrase",
            hint="decrypt it in place: `openssl pkey -in ca.key -out ca.key`, then `chmod 600 ca.key`",
            code="ca_key_encrypted",
        ) from err
    except ValueError as err:
        raise KarstError(f"{ca_key} is not a readable PEM private key", code="ca_key_unreadable") from err
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise KarstError(
            f"{ca_key} is neither an RSA nor an EC key",
            hint="Envoy accepts no other kind by default",
            code="ca_key_kind",
        )
    return key


def _check_may_issue(issuer: x509.Certificate, ca_pem: Path, now: dt.datetime) -> None:
    subject = issuer.subject.rfc4514_string()
    try:
        is_ca = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    try:
        may_sign = issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        may_sign = True
    if not is_ca or not may_sign:
        raise KarstError(f"the certificate `{subject}` in {ca_pem} may not issue others (not a CA)", code="ca_not_a_ca")
    if not issuer.not_valid_before_utc <= now < issuer.not_valid_after_utc:
        raise KarstError(
            f"the CA certificate `{subject}` in {ca_pem} is valid from {issuer.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"to {issuer.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and now is {now:%Y-%m-%d %H:%M}",
            hint="put a valid pair there, or remove ca.pem and ca.key to get a new development CA",
            code="ca_expired",
        )


def _chain(issuer: x509.Certificate, found: list[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    chain: list[x509.Certificate] = []
    current = issuer
    while current.issuer != current.subject and current not in chain:
        chain.append(current)
        parent = next((one for one in found if issued(one, current)), None)
        if parent is None:
            break
        current = parent
    return tuple(chain)


def issued(parent: x509.Certificate, child: x509.Certificate) -> bool:
    """Whether ``parent`` issued ``child`` itself: names and signature fit."""
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
