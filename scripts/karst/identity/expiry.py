"""When certificates end: the authority's and every identity's, read from the secrets folder. Keys are not looked at."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from karst.identity.store import Store, read

_FORM = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Expiry:
    """One certificate.

    Attributes:
        name: a service's name, ``ops/edge``, ``ops/operator``, or the authority's common name.
        kind: ``service``, ``tool`` or ``authority``.
    """

    name: str
    kind: str
    not_before: dt.datetime
    not_after: dt.datetime

    def to_dict(self) -> dict[str, str]:
        return {
            "name": self.name,
            "kind": self.kind,
            "not_before": self.not_before.strftime(_FORM),
            "not_after": self.not_after.strftime(_FORM),
        }


def expiries(root: Path) -> list[Expiry]:
    """The authority first, then whoever ends first. KarstError when another user owns the folder."""
    authorities = [_expiry(certificate, "", "authority") for certificate in _certificates(root / "ca.pem")]
    leaves = []
    for identity in Store(root).known():
        for certificate in _certificates(root / "mesh" / identity.folder / "svid.pem")[:1]:
            leaves.append(_expiry(certificate, identity.name, "tool" if "/" in identity.name else "service"))
    return authorities + sorted(leaves, key=lambda each: (each.not_after, each.name))


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(read(path))
    except (FileNotFoundError, ValueError):
        return []


def _expiry(certificate: x509.Certificate, name: str, kind: str) -> Expiry:
    return Expiry(
        name or certificate.subject.rfc4514_string(),
        kind,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
