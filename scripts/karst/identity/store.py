"""The secrets folder: who owns what, what is written when, and what is left alone.

<secrets>/ca.pem, ca.key                  the authority
<secrets>/<service>.crt, <service>.key    for people and tools; operator.crt, operator.key are the operator's
<secrets>/mesh/<service>/svid.pem, ca.pem what a sidecar mounts: chain and key in one file, and whom it trusts
<secrets>/app/<service>/<NAME>            secrets of the app (app_secrets.py)
<secrets>/rotation/                       an authority and its successor while they change places (ca_rotation.py)
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from karst import files
from karst.errors import KarstError
from karst.identity import authority as ca
from karst.identity import leaf as leaves
from karst.identity.issuers import STEP_CA, Issuer, chosen
from karst.identity.issuers.files import FileIssuer
from karst.identity.names import Identity
from karst.identity.settings import LIFETIME

CONTAINER_UID = 10001  # the user of the images; it owns the key files when root runs the kit


@dataclass(frozen=True)
class Issued:
    """A leaf and the folder that holds it."""

    identity: Identity
    dir: Path
    fingerprint: str
    not_after: dt.datetime

    def to_dict(self) -> dict[str, str]:
        return {
            "dir": str(self.dir),
            "uri": self.identity.uri,
            "fingerprint": self.fingerprint,
            "not_after": self.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class Store:
    """One secrets folder. Make it, ``with store.locked():``, then use it.

    Attributes:
        owner: (uid, gid) of what containers mount, as which the sidecar has to run: whoever runs the kit. Root gives
            it to the folder's owner, or to the images' own user when that is root too: no container runs as root.
        people: (uid, gid) of the rest: the folder's owner.
    """

    def __init__(self, root: Path, *, now: dt.datetime | None = None, lifetime: dt.timedelta = LIFETIME) -> None:
        self.root = root
        self.now = now or dt.datetime.now(dt.UTC)
        self.lifetime = lifetime
        self.owner = self.people = (os.geteuid(), os.getegid())
        self.authority_fingerprint = self.bundle_fingerprint = ""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: two Terraform data sources issue at the same time."""
        with files.disk_errors(self.root):
            try:
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as err:
                raise KarstError(f"{self.root} cannot be a folder: a file is in its way", code="not_a_folder") from err
            if os.geteuid() == 0:
                info = self.root.stat()
                self.people = (info.st_uid, info.st_gid)
                self.owner = self.people if info.st_uid else (CONTAINER_UID, CONTAINER_UID)
            with files.locked(self.root / ".lock"):
                yield

    def ensure(self, identities: Iterable[Identity], *, anew: Collection[Identity] = ()) -> list[Issued]:
        """Bring every identity's files up to date; what is right already is not touched, but for those of ``anew``."""
        issuer = self.issuer()
        self.authority_fingerprint = issuer.fingerprint
        self.bundle_fingerprint = hashlib.sha256(issuer.bundle).hexdigest()
        wanted = list(identities)
        # First everybody trusts the bundle, then the first leaf changes: no peer meets an issuer it does not know yet.
        for identity in wanted:
            self.folder("mesh", identity.folder)
            self.put(self.root / "mesh" / identity.folder / "ca.pem", issuer.bundle)
        return [self._leaf(identity, issuer, anew=identity in anew) for identity in wanted]

    def known(self) -> list[Identity]:
        """Every identity that was issued here, by the names in its certificate; what is not readable is left out."""
        found = []
        for folder in sorted((self.root / "mesh").glob("*/svid.pem")):
            name = folder.parent.name
            identity = leaves.named(
                "ops/" + name.removeprefix("ops-") if name.startswith("ops-") else name, read(folder)
            )
            found += [identity] if identity else []
        return found

    def issuer(self, *, make: bool = True) -> Issuer:
        """Who certifies now; ``make`` a development authority when there is none at all."""
        ca_pem, ca_key = self.root / "ca.pem", self.root / "ca.key"
        # Until everybody trusts the CA that is to come, the one in the folder issues (ca_rotation.py).
        if chosen() == STEP_CA and pending(self.root) != "trust":
            return self._step_ca(ca_pem, make=make)
        if make and not ca_pem.exists() and not ca_key.exists():
            certificate, key = ca.make(self.now)
            self.put(ca_key, key, owner=self.people)
            self.put(ca_pem, certificate, owner=self.people)
        for path, other in ((ca_pem, ca_key), (ca_key, ca_pem)):
            if not path.exists():
                raise KarstError(
                    f"{path} is missing, and {other.name} beside it is not",
                    hint="put it back, or remove both to get a new development CA; with a step-ca, set KARST_ISSUER",
                    code="ca_incomplete",
                )
        return FileIssuer(ca.load(read(ca_pem), read(ca_key), ca_pem=ca_pem, ca_key=ca_key, now=self.now))

    def _step_ca(self, ca_pem: Path, *, make: bool) -> Issuer:
        from karst.identity.issuers.step_ca import StepCa

        issuer = StepCa(x509.load_pem_x509_certificates(read(ca_pem)) if ca_pem.exists() else [])
        if make:
            self.put(ca_pem, issuer.bundle, owner=self.people)
        return issuer

    def leaf(self, identity: Identity) -> leaves.Leaf | None:
        """What ``identity``'s sidecar is given now; None when that is nothing readable."""
        svid = self.root / "mesh" / identity.folder / "svid.pem"
        return leaves.read(identity, read(svid)) if svid.exists() else None

    def _leaf(self, identity: Identity, issuer: Issuer, *, anew: bool) -> Issued:
        folder = self.root / "mesh" / identity.folder
        svid = folder / "svid.pem"
        leaf = self.leaf(identity)
        if leaf is None or anew or leaves.why_replace(leaf, issuer, self.now, self.lifetime):
            leaf = issuer.issue(identity, self.now, self.lifetime, leaf)
        self.put(svid, leaf.svid)
        if identity.file:
            self.put(self.root / f"{identity.file}.crt", leaf.chain, owner=self.people)
            self.put(self.root / f"{identity.file}.key", leaf.key, owner=self.people)
        return Issued(identity, folder, leaf.fingerprint, leaf.certificate.not_valid_after_utc)

    def folder(self, *parts: str, mode: int = 0o700, owner: tuple[int, int] | None = None) -> Path:
        """Make ``<secrets>/<parts…>``; only the last one is ``mode``, what is above it stays closed to others."""
        path, owner = self.root, owner or self.owner
        with files.disk_errors(path):
            for part in parts:
                path = path / part
                path.mkdir(mode=0o700, exist_ok=True)
            info = path.stat()
            if info.st_mode & 0o777 != mode:
                path.chmod(mode)
            if os.geteuid() == 0 and (info.st_uid, info.st_gid) != owner:
                os.chown(path, *owner)
        return path

    def put(self, path: Path, data: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
        """Write ``path`` unless it holds ``data`` with the right mode and owner (default: ``self.owner``) already."""
        owner = owner or self.owner
        try:
            info = path.stat()
            same_rights = info.st_mode & 0o777 == mode and (info.st_uid, info.st_gid) == owner
            if same_rights and path.read_bytes() == data:
                return
        except FileNotFoundError:
            pass
        except PermissionError as err:
            raise _unreadable(path) from err
        files.write_atomic(path, data, mode=mode, owner=owner if os.geteuid() == 0 else None)


def pending(root: Path) -> str:
    """The step at which a change of the authority in this folder stands, or ""."""
    try:
        return str(json.loads((root / "rotation" / "state.json").read_bytes())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read(path: Path) -> bytes:
    """Read a file of the folder; KarstError when another user's run left it unreadable."""
    try:
        return path.read_bytes()
    except PermissionError as err:
        raise _unreadable(path) from err


def _unreadable(path: Path) -> KarstError:
    return KarstError(
        f"cannot read {path}: it belongs to another user",
        hint="run as the user who made the folder, or give it to yourself: `sudo chown -R $USER` on the secrets folder",
        code="not_readable",
    )
