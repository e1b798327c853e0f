"""New leaves now, and the proof that each running Envoy uses them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cryptography import x509

from karst import containers, deliver
from karst.errors import KarstError, UsageError, did_you_mean
from karst.identity import inventory, served
from karst.identity.names import Identity
from karst.identity.store import Store, read
from karst.stack import Stack

POLL_SECONDS = 0.25
Say = Callable[[str], None]


def choose(known: Sequence[Identity], names: Sequence[str]) -> list[Identity]:
    """The identities called ``names`` (``edge`` is ``ops/edge``), or all; UsageError for one that is not there."""
    by_name = {identity.name: identity for identity in known}
    chosen = []
    for name in dict.fromkeys(names):
        found = by_name.get(name) or by_name.get(f"ops/{name}")
        if found is None:
            raise UsageError(
                f"there is no identity `{name}`",
                hint=did_you_mean(name, [*by_name, "edge", "operator"]) or f"there are: {', '.join(by_name)}",
                code="unknown_identity",
            )
        chosen.append(found)
    return chosen or list(known)


def leaves(stack: Stack, store: Store, names: Sequence[str], *, say: Say, timeout: float) -> None:
    """Issue every named identity anew, then wait until all that runs shows the new certificates."""
    known = inventory.identities(store)
    chosen = choose(known, names)
    with store.locked():
        issued = store.ensure(known, anew=chosen)
    until = {one.identity.name: one.not_after for one in issued}
    for identity in chosen:
        say(f"{identity.name}: new certificate until {until[identity.name]:%Y-%m-%d %H:%M} UTC")
    await_in_step(stack, store, chosen, say=say, timeout=timeout)


def await_in_step(stack: Stack, store: Store, identities: Sequence[Identity], *, say: Say, timeout: float) -> None:
    """Wait until each running Envoy of ``identities`` uses exactly what its files hold; KarstError names who does not.

    What starts meanwhile is asked as well; what is not running reads the files when it starts. Those on a host
    elsewhere are brought theirs first.
    """
    with containers.engine() as docker:
        deliver.to_stack(docker, stack.name, store.root)
    deadline = time.monotonic() + timeout
    while True:
        seen = served.ask(stack, served.running(stack), identities)
        behind = {one.where: text for one in seen if (text := _behind(store, identities, one))}
        if not behind:
            say(f"{len(seen)} running: each uses it" if seen else "nothing of it is running")
            return
        if time.monotonic() >= deadline:
            where, text = next(iter(behind.items()))
            others = f", and {len(behind) - 1} more" if len(behind) > 1 else ""
            raise KarstError(
                f"after {timeout:g} s, {where} does not use its new files{others}: {text}",
                hint="`iac certs` says who uses what, `iac health` who is well; then give the same command again",
                code="not_in_step",
            )
        time.sleep(POLL_SECONDS)


def _behind(store: Store, identities: Sequence[Identity], seen: served.Seen) -> str:
    identity = next(one for one in identities if one.name == seen.identity)
    leaf = store.leaf(identity)
    bundle = x509.load_pem_x509_certificates(read(store.root / "mesh" / identity.folder / "ca.pem"))[0]
    return f"{seen.where} has no readable file" if leaf is None else inventory.in_step(leaf, bundle, seen)
