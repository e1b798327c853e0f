"""Who certifies: the interface, and which one the environment asks for.

An issuer decides three things: whom the mesh trusts, what a new leaf is, and whether a leaf is (still) one of its own.
When a leaf is due, where it is kept and who is told is the store's business, the same for all.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Protocol

from karst.errors import UsageError, did_you_mean
from karst.identity.leaf import Leaf
from karst.identity.names import Identity

FILES, STEP_CA = KINDS = ("files", "step-ca")


def chosen() -> str:
    """Which issuer KARST_ISSUER asks for; UsageError for one that there is not."""
    wanted = os.environ.get("KARST_ISSUER") or FILES
    if wanted not in KINDS:
        raise UsageError(
            f"KARST_ISSUER is `{wanted[:40]}`, and the issuers are {' and '.join(f'`{kind}`' for kind in KINDS)}",
            hint=did_you_mean(wanted, KINDS) or "docs/identity.md says what each needs",
            code="bad_issuer",
        )
    return wanted


class Issuer(Protocol):
    """What the store needs of an issuer.

    Attributes:
        bundle: every certificate that the mesh trusts, in PEM.
        fingerprint: SHA-256 of the certificate that tells this authority from another.
    """

    @property
    def bundle(self) -> bytes: ...

    @property
    def fingerprint(self) -> str: ...

    def issue(self, identity: Identity, now: dt.datetime, lifetime: dt.timedelta, previous: Leaf | None) -> Leaf:
        """Certify a new key for ``identity``; ``previous`` is its good leaf, if it has one. Raises KarstError."""
        ...

    def why_not_mine(self, leaf: Leaf) -> str:
        """Say why ``leaf`` is none that this issuer would hand out, or ""."""
        ...
