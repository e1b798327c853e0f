"""Every certificate of a secrets folder beside what is in use: what `iac certs` lists. Nothing is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from karst.errors import KarstError, UsageError
from karst.identity import leaf as leaves
from karst.identity.issuers import Issuer
from karst.identity.names import Identity
from karst.identity.served import Seen
from karst.identity.store import Store, read

# An authority has to be replaced by people, so they learn of it earlier; one with a short life, by its last third.
AUTHORITY_NOTICE = dt.timedelta(days=30)
# Whose certificate no Envoy shows; the admin app reads its own anew at each handshake.
_NOT_ENVOYS = frozenset({"ops/operator", "ops/admin"})


@dataclass(frozen=True)
class Row:
    """One certificate.

    Attributes:
        name: the identity's name; "ca" for a certificate of the trust bundle.
        uri: SPIFFE id; "" for an authority.
        issuer: common name of who signed it.
        serial, fingerprint: in hexadecimal; the fingerprint is the SHA-256 of the certificate.
        not_after: end of validity, ISO 8601 in UTC.
        seconds_left: until then; negative when it is over.
        due: why it has to be issued anew, or "".
        served: ``yes``, ``no``, ``not running``, ``unknown``; ``-`` for what no Envoy shows.
        note: one sentence on ``served``, or "".
    """

    name: str
    uri: str
    issuer: str
    serial: str
    fingerprint: str
    not_after: str
    seconds_left: int
    due: str
    served: str
    note: str

    @property
    def fine(self) -> bool:
        return not self.due and self.served not in ("no", "unknown")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def identities(store: Store) -> list[Identity]:
    """Whom the folder knows; UsageError when it holds nobody."""
    found = store.known() if (store.root / "mesh").is_dir() else []
    if not found:
        raise UsageError(
            f"{store.root} holds no identities",
            hint="the first deploy makes them; or name the folder by KARST_SECRETS_DIR or --secrets-dir",
            code="no_identities",
        )
    return found


def rows(store: Store, known: Sequence[Identity], seen: Sequence[Seen] | None) -> list[Row]:
    """Identities first, then what is trusted. ``seen`` is what runs; None when nobody could be asked."""
    issuer: Issuer | None
    try:
        issuer, broken = store.issuer(make=False), ""
    except KarstError as err:
        issuer, broken = None, err.message
    found = []
    for identity in known:
        leaf = store.leaf(identity)
        if leaf is None:
            continue
        due = broken if issuer is None else leaves.why_replace(leaf, issuer, store.now, store.lifetime)
        served, note = _served(leaf, None if seen is None else [one for one in seen if one.identity == identity.name])
        found.append(_row(identity.name, identity.uri, leaf.certificate, store.now, due, served, note))
    bundle = store.root / "ca.pem"
    for one in x509.load_pem_x509_certificates(read(bundle)) if bundle.exists() else ():
        found.append(_row("ca", "", one, store.now, _authority_due(one, store.now), "-", ""))
    return found


def in_step(leaf: leaves.Leaf, bundle: x509.Certificate | None, seen: Seen) -> str:
    """Say how ``seen`` differs from the files: shows another certificate, or holds another bundle; or ""."""
    if seen.problem:
        return seen.problem
    if seen.serials != {leaf.certificate.serial_number}:
        return f"{seen.where} still shows another certificate"
    if bundle is not None and seen.roots and seen.roots != {bundle.serial_number}:
        return f"{seen.where} still trusts another bundle"
    return ""


def _served(leaf: leaves.Leaf, seen: list[Seen] | None) -> tuple[str, str]:
    if leaf.identity.name in _NOT_ENVOYS:
        return "-", ""
    if seen is None:
        return "unknown", "no Docker engine answers"
    if not seen:
        return "not running", ""
    problems = [one.problem for one in seen if one.problem]
    if problems:
        return "unknown", problems[0]
    others = [text for one in seen if (text := in_step(leaf, None, one))]
    return ("no", others[0]) if others else ("yes", "")


def _authority_due(one: x509.Certificate, now: dt.datetime) -> str:
    begin, end = one.not_valid_before_utc, one.not_valid_after_utc
    if now >= end:
        return "it has expired"
    if end - now < min(AUTHORITY_NOTICE, (end - begin) / 3):
        return "it expires soon: `iac certs rotate --ca` replaces it"
    return ""


def _row(name: str, uri: str, one: x509.Certificate, now: dt.datetime, due: str, served: str, note: str) -> Row:
    return Row(
        name=name,
        uri=uri,
        issuer=_common_name(one.issuer),
        serial=f"{one.serial_number:x}",
        fingerprint=one.fingerprint(hashes.SHA256()).hex(),
        not_after=one.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds_left=int((one.not_valid_after_utc - now).total_seconds()),
        due=due,
        served=served,
        note=note,
    )


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
