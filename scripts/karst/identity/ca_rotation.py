"""From one authority to another without a failed request: trust both, issue from the new one, drop the old one.

Every step writes files first and then waits until each running Envoy is seen to use them; only then the next step
begins. Where it stands is kept in ``<secrets>/rotation/state.json``, so that the same command goes on after it was
killed, at whatever point. `ca.pem` and `ca.key` always belong together, so that a deploy in between issues and trusts
what is right at that moment. The replaced key stays in ``rotation/`` until nobody needs it any more.

How a step is seen: Envoy lists the first certificate of each bundle that it holds. Each step therefore puts another
certificate first (new, old, new): the same question shows all three of them, in connections to others as well.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from karst import files
from karst.errors import KarstError, UsageError
from karst.identity import authority as ca
from karst.identity import inventory, served
from karst.identity.issuers import FILES, STEP_CA, chosen
from karst.identity.issuers.step_ca import StepCa
from karst.identity.leaf import pem
from karst.identity.refusal import await_refusal
from karst.identity.rotate import Say, await_in_step
from karst.identity.store import Store, pending, read
from karst.stack import Stack

TRUST, ISSUE, DROP, CLEAN = STEPS = ("trust", "issue", "drop", "clean")


class Rotation:
    """One change of the authority, new or found half done in the folder."""

    def __init__(self, stack: Stack, store: Store, *, say: Say, timeout: float) -> None:
        self.stack = stack
        self.store = store
        self.say = say
        self.timeout = timeout
        self.folder = store.root / "rotation"
        self.ca_pem, self.ca_key = store.root / "ca.pem", store.root / "ca.key"

    def run(self, given: tuple[Path, Path] | None = None) -> None:
        """Take every step that is left; ``given`` are certificate and key of an authority that was brought along."""
        with self._alone():
            if not pending(self.store.root):
                self._begin(given)
            else:
                self._check_same(given)
                self.say(f"going on with the rotation that stands at `{pending(self.store.root)}`")
            for step in STEPS[STEPS.index(self._step()) :]:
                self._enter(step)
                getattr(self, f"_{step}")()

    # ------------------------------------------------------------------------------------------------ before
    def _begin(self, given: tuple[Path, Path] | None) -> None:
        with self.store.locked():
            inventory.identities(self.store)
            old = self._issuer_of_the_folder()
            certificates, key = self._successor(given)
            if old.fingerprint in {one.fingerprint(hashes.SHA256()).hex() for one in certificates}:
                raise UsageError("that is the authority in use already", code="same_authority")
            self.store.folder("rotation", owner=self.store.people)
            (self.folder / "new.key").unlink(missing_ok=True)
            for name, content in {
                "old.pem": read(self.ca_pem),
                "old.key": read(self.ca_key),
                "new.pem": pem(*certificates),
                **({"new.key": key} if key else {}),
            }.items():
                self.store.put(self.folder / name, content, owner=self.store.people)
        self._enter(TRUST)

    def _issuer_of_the_folder(self) -> ca.Authority:
        if chosen() != FILES and not self.ca_key.exists():
            raise UsageError(
                f"the authority is {chosen()}, not a key in {self.store.root}",
                hint="change its root there; docs/identity.md has the steps on this side",
                code="other_issuer",
            )
        return ca.load(read(self.ca_pem), read(self.ca_key), ca_pem=self.ca_pem, ca_key=self.ca_key, now=self.store.now)

    def _successor(self, given: tuple[Path, Path] | None) -> tuple[list[x509.Certificate], bytes]:
        """Whom to trust next, and the key that issues; no key where the issuer keeps it."""
        if chosen() == STEP_CA:
            if given:
                raise UsageError("KARST_ISSUER is step-ca, which has a key of its own: give none", code="bad_option")
            return StepCa(x509.load_pem_x509_certificates(read(self.ca_pem))).roots, b""
        if given:
            certificates, key, (where, where_key) = read(given[0]), read(given[1]), given
        else:
            self._check_development()
            (certificates, key), (where, where_key) = ca.make(self.store.now), (self.ca_pem, self.ca_key)
        new = ca.load(certificates, key, ca_pem=where, ca_key=where_key, now=self.store.now)
        return x509.load_pem_x509_certificates(new.bundle), key

    def _check_development(self) -> None:
        own = x509.load_pem_x509_certificates(read(self.ca_pem))
        if not any(ca.DEVELOPMENT in one.subject.rfc4514_string() for one in own):
            raise UsageError(
                f"{self.ca_pem} is an authority that you brought along, and the kit cannot make its successor",
                hint="get one from where this one is from, then: iac certs rotate --ca --ca-cert FILE --ca-key FILE",
                code="own_authority",
            )

    def _check_same(self, given: tuple[Path, Path] | None) -> None:
        """A second authority cannot be slipped into a rotation to another one."""
        wanted = FILES if (self.folder / "new.key").exists() else STEP_CA
        if self._step() != CLEAN and chosen() != wanted:
            raise UsageError(
                f"a rotation to another authority is not finished, and it needs KARST_ISSUER to be `{wanted}`",
                hint=f"set it, as it was when the rotation began, then give the command again (now: `{chosen()}`)",
                code="other_rotation",
            )
        if given and self._step() != CLEAN and x509.load_pem_x509_certificates(read(given[0])) != self._new:
            raise UsageError(
                "a rotation to another authority is not finished",
                hint="`iac certs rotate --ca`, without files, finishes it",
                code="other_rotation",
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        shared = served.others(self.stack)
        if shared:
            raise KarstError(
                f"stack `{shared[0]}` shares {self.store.root}, and this command sees only `{self.stack.name}`",
                hint="give each stack a folder of its own, or take the steps by hand (docs/identity.md)",
                code="shared_folder",
            )
        busy = f"another `iac certs rotate --ca` is at work in {self.store.root}"
        with files.locked(self.store.root / ".rotation.lock", wait=0, busy=busy):
            yield

    def _step(self) -> str:
        step = pending(self.store.root)
        if step not in STEPS:
            raise KarstError(f"{self.folder / 'state.json'} names no step that there is", code="bad_rotation")
        return step

    def _enter(self, step: str) -> None:
        self.store.put(self.folder / "state.json", json.dumps({"step": step}).encode(), owner=self.store.people)

    # ------------------------------------------------------------------------------------------------ the steps
    def _trust(self) -> None:
        self.say("1 of 3: trust both authorities")
        self._apply([*_without(self._new, self._old), *self._old, *self._new], key="old.key")

    def _issue(self) -> None:
        self.say("2 of 3: issue from the new one")
        self._apply([*_without(self._old, self._new), *self._new, *self._old], key="new.key")

    def _drop(self) -> None:
        self.say("3 of 3: drop the old one")
        self._apply(self._new, key="new.key")
        await_refusal(self.stack, self.store, self.folder, self._new, say=self.say, timeout=self.timeout)

    def _clean(self) -> None:
        if not (self.folder / "new.key").exists() and _content(self.ca_key) == _content(self.folder / "old.key") != b"":
            self.ca_key.unlink()  # the issuer keeps its own
        for name in ("old.key", "old.pem", "new.key", "new.pem", "state.json"):  # the state last
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder)
        self.say("done: only the new authority counts")

    def _apply(self, bundle: Sequence[x509.Certificate], *, key: str) -> None:
        """Trust ``bundle`` in this order, issue with ``key``, and wait until all that runs does so."""
        with self.store.locked():
            known = self.store.known()
            if _content(self.ca_key) not in (_content(self.folder / "old.key"), _content(self.folder / "new.key")):
                raise KarstError(
                    f"{self.ca_key} is neither the old nor the new authority's key: somebody changed it meanwhile",
                    hint=f"both keys are in {self.folder}; put one of them back, then give the command again",
                    code="ca_key_changed",
                )
            # In this order: killed between the two, the bundle still has the certificate of either key.
            self.store.put(self.ca_pem, pem(*dict.fromkeys(bundle)), owner=self.store.people)
            if (self.folder / key).exists():
                self.store.put(self.ca_key, read(self.folder / key), owner=self.store.people)
            self.store.ensure(known)
        await_in_step(self.stack, self.store, known, say=self.say, timeout=self.timeout)

    # ------------------------------------------------------------------------------------------------ what is there
    @functools.cached_property
    def _old(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(read(self.folder / "old.pem"))

    @functools.cached_property
    def _new(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(read(self.folder / "new.pem"))


def _content(path: Path) -> bytes:
    return read(path) if path.exists() else b""


def _without(some: Sequence[x509.Certificate], others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    return [one for one in some if one not in others]
