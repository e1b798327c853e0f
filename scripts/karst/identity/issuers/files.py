"""The authority in the secrets folder: `ca.pem` and `ca.key`, made for development or brought along."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from karst.identity.authority import BACKDATE, Authority, issued, pem_key
from karst.identity.leaf import Leaf, alt_names, pem
from karst.identity.names import Identity


@dataclass(frozen=True)
class FileIssuer:
    """Signs with the key in the folder."""

    authority: Authority

    @property
    def bundle(self) -> bytes:
        return self.authority.bundle

    @property
    def fingerprint(self) -> str:
        return self.authority.fingerprint

    def issue(self, identity: Identity, now: dt.datetime, lifetime: dt.timedelta, previous: Leaf | None) -> Leaf:
        """Make a key and certify it for ``identity``: exactly one URI, as SPIFFE demands."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.authority.certificate
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)  # digital_signature
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(now + lifetime, issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(alt_names(identity), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_authority_key(issuer), critical=False)
            .sign(self.authority.key, _digest(self.authority))
        )
        return Leaf(identity, certificate, pem(certificate, *self.authority.chain), pem_key(key))

    def why_not_mine(self, leaf: Leaf) -> str:
        if not issued(self.authority.certificate, leaf.certificate):
            return "another authority issued it"
        if leaf.chain != pem(leaf.certificate, *self.authority.chain):
            return "its chain of intermediates changed"
        return ""


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
