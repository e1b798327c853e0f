"""The proof that an authority was dropped: a certificate made with its key is let in nowhere."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from karst import files
from karst.errors import KarstError
from karst.identity import authority as ca
from karst.identity import served
from karst.identity.issuers.files import FileIssuer
from karst.identity.names import Identity
from karst.identity.rotate import POLL_SECONDS, Say
from karst.identity.settings import SHORTEST
from karst.identity.store import Store, read
from karst.stack import Stack
from karst.tunnel import Unreachable, connect, get

REFUSED = "refused"


def await_refusal(
    stack: Stack, store: Store, folder: Path, new: Sequence[x509.Certificate], *, say: Say, timeout: float
) -> None:
    """Knock at each running sidecar with a fresh certificate of ``folder``'s old authority until nobody lets it in.

    ``new`` is the bundle that counts now. Raises KarstError for one that is not seen to refuse within ``timeout`` s.
    """
    known = {identity.name: identity for identity in store.known()}
    old = _old_authority(store, folder, new, say)
    if old is None or "ops/operator" not in known:
        return
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory(prefix="karst-") as forged:
        _forge(old, store, known["ops/operator"], Path(forged))
        while True:
            pods = [member for member in served.running(stack) if member.service in known]
            answers = {pod.name: _answer(stack, pod.name, known[pod.service], Path(forged)) for pod in pods}
            wrong = {name: answer for name, answer in answers.items() if answer != REFUSED}
            if not wrong:
                break
            if time.monotonic() >= deadline:
                name, answer = next(iter(wrong.items()))
                raise KarstError(
                    f"after {timeout:g} s, {name} is not seen to refuse the old authority: {answer}",
                    hint="`iac health` says how it is; the same command again goes on from here",
                    code="not_dropped",
                )
            time.sleep(POLL_SECONDS)
    say(f"{len(answers)} running sidecars asked: each refuses a certificate of the old authority")


def _old_authority(store: Store, folder: Path, new: Sequence[x509.Certificate], say: Say) -> FileIssuer | None:
    """The authority that was dropped; None when its leaves are no good anyway, or are still meant to be."""
    old_pem, old_key = folder / "old.pem", folder / "old.key"
    try:
        old = ca.load(read(old_pem), read(old_key), ca_pem=old_pem, ca_key=old_key, now=store.now)
    except KarstError as err:
        if err.code != "ca_expired":
            raise
        say("the old authority has expired, and with it all that it issued")
        return None
    if any(_vouches(one, issuer) for one in new for issuer in (old.certificate, *old.chain)):
        say("the new bundle vouches for the old authority too: its leaves are good until they expire")
        return None
    return FileIssuer(old)


def _forge(old: FileIssuer, store: Store, identity: Identity, folder: Path) -> None:
    """Make in ``folder`` what a thief of the old key would: an operator's certificate, good for an hour."""
    leaf = old.issue(identity, store.now, SHORTEST, None)
    bundle = read(store.root / "ca.pem")
    for name, content in (("operator.crt", leaf.chain), ("operator.key", leaf.key), ("ca.pem", bundle)):
        files.write_atomic(folder / name, content, mode=0o600)


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


def _vouches(parent: x509.Certificate, child: x509.Certificate) -> bool:
    return parent == child or ca.issued(parent, child)
