"""One service's certificate: issuing it, reading it, and deciding whether it is still the right one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from karst.errors import UsageError
from karst.identity.authority import BACKDATE, Authority, pem_key
from karst.identity.names import Identity

# Seven days: short enough that a stolen leaf is soon worthless (there is no revocation list), long enough for a machine
# that is off over a long weekend. Renewal begins with a third of it left, so every deploy leaves at least 56 hours.
LIFETIME = dt.timedelta(days=7)


@dataclass(frozen=True)
class Leaf:
    """What is on disk for one identity: certificate chain and key, apart."""

    identity: Identity
    certificate: x509.Certificate
    chain: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def svid(self) -> bytes:
        """Chain and key in one file: one rename swaps both, so Envoy never pairs a new chain with an old key."""
        return self.chain + self.key


def issue(identity: Identity, authority: Authority, now: dt.datetime) -> Leaf:
    """Make a key and have ``authority`` certify it for ``identity``: exactly one URI, as SPIFFE demands."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    alt_names: list[x509.GeneralName] = [x509.DNSName(name) for name in identity.dns]
    alt_names.append(x509.UniformResourceIdentifier(identity.uri))
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)  # digital_signature
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + LIFETIME, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(alt_names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
        .sign(authority.key, _digest(authority))
    )
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (certificate, *authority.chain))
    return Leaf(identity, certificate, chain, pem_key(key))


def read(identity: Identity, svid: bytes) -> Leaf | None:
    """Read a `svid.pem`; None when it is not one."""
    begin = svid.find(b"-----BEGIN PRIVATE KEY-----")
    if begin < 0:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(svid)
    except ValueError:
        return None
    return Leaf(identity, certificate, svid[:begin], svid[begin:])


def named(name: str, svid: bytes) -> Identity | None:
    """Read back from a `svid.pem` as whom ``name`` was certified; None when it is not one of ours."""
    try:
        dns, uris = _alt_names(x509.load_pem_x509_certificate(svid))
        trust_domain = uris[0].removeprefix("spiffe://").partition("/")[0]
        network = next((one.removeprefix(f"{name}.") for one in dns if one != name), "")
        identity = Identity.parse(name, network=network, trust_domain=trust_domain)
    except (ValueError, IndexError, UsageError):
        return None
    return identity if (set(identity.dns), [identity.uri]) == (dns, uris) else None


def why_replace(leaf: Leaf, authority: Authority, now: dt.datetime) -> str:
    """Say why ``leaf`` has to be issued anew, or ""."""
    certificate = leaf.certificate
    if _alt_names(certificate) != (set(leaf.identity.dns), [leaf.identity.uri]):
        return "it names somebody else"
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "another authority issued it"
    expected = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (certificate, *authority.chain))
    if leaf.chain != expected:
        return "its chain of intermediates changed"
    try:
        key = serialization.load_pem_private_key(leaf.key, password=None)
    except (ValueError, TypeError):
        return "its key cannot be read"
    if key.public_key() != certificate.public_key():
        return "its key belongs to another certificate"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return "it is not valid yet"
    if now >= end - (end - begin) / 3:
        return "less than a third of its lifetime is left"
    return ""


def _alt_names(certificate: x509.Certificate) -> tuple[set[str], list[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), []
    return set(names.get_values_for_type(x509.DNSName)), names.get_values_for_type(x509.UniformResourceIdentifier)


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _digest(authority: Authority) -> hashes.SHA256 | hashes.SHA384:
    key = authority.key
    wide = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256
    return hashes.SHA384() if wide else hashes.SHA256()
