"""One identity's certificate: reading it, and deciding whether it is still the right one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from karst.errors import UsageError
from karst.identity.authority import BACKDATE
from karst.identity.names import Identity

if TYPE_CHECKING:
    from karst.identity.issuers import Issuer


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


def read(identity: Identity, svid: bytes) -> Leaf | None:
    """Read a `svid.pem`; None when it is not one."""
    begin = svid.find(b"-----BEGIN PRIVATE")
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


def why_replace(leaf: Leaf, issuer: Issuer, now: dt.datetime, lifetime: dt.timedelta) -> str:
    """Say why ``leaf`` has to be issued anew, or ""."""
    if not names_only(leaf.certificate, leaf.identity):
        return "it names somebody else"
    if reason := issuer.why_not_mine(leaf):
        return reason
    try:
        key = serialization.load_pem_private_key(leaf.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "its key cannot be read"
    if key.public_key() != leaf.certificate.public_key():
        return "its key belongs to another certificate"
    begin, end = leaf.certificate.not_valid_before_utc, leaf.certificate.not_valid_after_utc
    if now < begin:
        return "it is not valid yet"
    if now >= end:
        return "it has expired"
    if now >= end - (end - begin) / 3:
        return "less than a third of its lifetime is left"
    if end - now > lifetime + BACKDATE:
        return "it is valid for longer than is wanted now"
    return ""


def names_only(certificate: x509.Certificate, identity: Identity) -> bool:
    """Whether ``certificate`` names ``identity`` and nobody else: these DNS names and this one URI."""
    return _alt_names(certificate) == (set(identity.dns), [identity.uri])


def alt_names(identity: Identity) -> x509.SubjectAlternativeName:
    """The names that a certificate for ``identity`` has to carry."""
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in identity.dns]
    return x509.SubjectAlternativeName([*names, x509.UniformResourceIdentifier(identity.uri)])


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _alt_names(certificate: x509.Certificate) -> tuple[set[str], list[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), []
    return set(names.get_values_for_type(x509.DNSName)), names.get_values_for_type(x509.UniformResourceIdentifier)
