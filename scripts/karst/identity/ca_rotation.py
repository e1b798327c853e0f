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
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from karst import files
from karst.errors import KarstError, UsageError
from karst.identity import authority as ca
from karst.identity import inventory, served
from karst.identity.issuers import FILES, chosen
from karst.identity.issuers.files import FileIssuer
from karst.identity.leaf import pem
from karst.identity.names import Identity
from karst.identity.rotate import POLL_SECONDS, Say, await_in_step
from karst.identity.settings import SHORTEST
from karst.identity.store import Store, read
from karst.stack import Stack
from karst.tunnel import Unreachable, connect, get

TRUST, ISSUE, DROP, CLEAN = STEPS = ("trust", "issue", "drop", "clean")
REFUSED = "refused"


def pending(secrets: Path) -> str:
    """The step at which a rotation in this folder stands, or ""."""
    try:
        return str(json.loads((secrets / "rotation" / "state.json").read_bytes())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


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
            if chosen() != FILES:
                raise UsageError(
                    f"the authority is {chosen()}, not a key in {self.store.root}",
                    hint="change its root there; docs/identity.md has the steps on this side",
                    code="other_issuer",
                )
            old = self.store.issuer(make=False)
            if given:
                certificates, key = read(given[0]), read(given[1])
                new = ca.load(certificates, key, ca_pem=given[0], ca_key=given[1], now=self.store.now)
            else:
                self._check_development()
                certificates, key = ca.make(self.store.now)
                new = ca.load(certificates, key, ca_pem=self.ca_pem, ca_key=self.ca_key, now=self.store.now)
            if new.fingerprint == old.fingerprint:
                raise UsageError("that is the authority in use already", code="same_authority")
            self.store.folder("rotation", owner=self.store.people)
            for name, content in {
                "old.pem": read(self.ca_pem),
                "old.key": read(self.ca_key),
                "new.pem": new.bundle,
                "new.key": key,
            }.items():
                self.store.put(self.folder / name, content, owner=self.store.people)
        self._enter(TRUST)

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
        self._await_refusal()

    def _clean(self) -> None:
        for name in ("old.key", "old.pem", "new.key", "new.pem", "state.json"):  # the state last
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder)
        self.say("done: only the new authority counts")

    def _apply(self, bundle: Sequence[x509.Certificate], *, key: str) -> None:
        """Trust ``bundle`` in this order, issue with ``key``, and wait until all that runs does so."""
        with self.store.locked():
            known = self.store.known()
            if read(self.ca_key) not in (read(self.folder / "old.key"), read(self.folder / "new.key")):
                raise KarstError(
                    f"{self.ca_key} is neither the old nor the new authority's key: somebody changed it meanwhile",
                    hint=f"both keys are in {self.folder}; put one of them back, then give the command again",
                    code="ca_key_changed",
                )
            wanted, key_now = pem(*dict.fromkeys(bundle)), read(self.folder / key)
            # In this order: killed between the two, the bundle still has the certificate of either key.
            for path, content in ((self.ca_pem, wanted), (self.ca_key, key_now)):
                self.store.put(path, content, owner=self.store.people)
            self.store.ensure(known)
        await_in_step(self.stack, self.store, known, say=self.say, timeout=self.timeout)

    # ------------------------------------------------------------------------------------------------ the proof
    def _await_refusal(self) -> None:
        """Knock at each running sidecar with a fresh certificate of the old authority until nobody lets it in."""
        known = {identity.name: identity for identity in self.store.known()}
        old = self._old_authority()
        if old is None or "ops/operator" not in known:
            return
        deadline = time.monotonic() + self.timeout
        with tempfile.TemporaryDirectory(prefix="karst-") as folder:
            self._forge(old, known["ops/operator"], Path(folder))
            while True:
                pods = [member for member in served.running(self.stack) if member.service in known]
                answers = {pod.name: _answer(self.stack, pod.name, known[pod.service], Path(folder)) for pod in pods}
                wrong = {name: answer for name, answer in answers.items() if answer != REFUSED}
                if not wrong:
                    break
                if time.monotonic() >= deadline:
                    name, answer = next(iter(wrong.items()))
                    raise KarstError(
                        f"after {self.timeout:g} s, {name} is not seen to refuse the old authority: {answer}",
                        hint="`iac health` says how it is; the same command again goes on from here",
                        code="not_dropped",
                    )
                time.sleep(POLL_SECONDS)
        self.say(f"{len(answers)} running sidecars asked: each refuses a certificate of the old authority")

    def _old_authority(self) -> FileIssuer | None:
        """The authority that was dropped; None when its leaves are no good anyway, or are still meant to be."""
        old_pem, old_key = self.folder / "old.pem", self.folder / "old.key"
        try:
            old = ca.load(read(old_pem), read(old_key), ca_pem=old_pem, ca_key=old_key, now=self.store.now)
        except KarstError as err:
            if err.code != "ca_expired":
                raise
            self.say("the old authority has expired, and with it all that it issued")
            return None
        if any(_vouches(one, issuer) for one in self._new for issuer in (old.certificate, *old.chain)):
            self.say("the new bundle vouches for the old authority too: its leaves are good until they expire")
            return None
        return FileIssuer(old)

    def _forge(self, old: FileIssuer, identity: Identity, folder: Path) -> None:
        """Make in ``folder`` what a thief of the old key would: an operator's certificate, good for an hour."""
        leaf = old.issue(identity, self.store.now, SHORTEST, None)
        for name, content in (("operator.crt", leaf.chain), ("operator.key", leaf.key), ("ca.pem", read(self.ca_pem))):
            files.write_atomic(folder / name, content, mode=0o600)

    # ------------------------------------------------------------------------------------------------ what is there
    @functools.cached_property
    def _old(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(read(self.folder / "old.pem"))

    @functools.cached_property
    def _new(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(read(self.folder / "new.pem"))


def _answer(stack: Stack, pod: str, identity: Identity, folder: Path) -> str:
    """What a sidecar does with the certificate in ``folder``: REFUSED, or what else as the end of a sentence."""
    try:
        tls = connect(
            identity.name,
            stack.edge,
            folder,
            sni=pod,
            timeout=served.TIMEOUT,
            trust_domain=identity.trust_domain,
            protocol="http/1.1",
        )
        get(tls, identity.name, "/.karst/ready")
    except Unreachable as err:
        # With TLS 1.3 the refusal comes after our side of the handshake: as the answer to the first request.
        return REFUSED if err.code == "no_answer" else err.message
    return "it lets a certificate of it in"


def _without(some: Sequence[x509.Certificate], others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    return [one for one in some if one not in others]


def _vouches(parent: x509.Certificate, child: x509.Certificate) -> bool:
    if parent == child:
        return True
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
