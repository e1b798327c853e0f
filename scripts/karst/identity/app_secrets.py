"""Secrets of the apps: taken from where the operator keeps them (sources.py), handed over as files, never as values.

State gets a keyed digest per service, so that a changed secret replaces the pod while nobody who reads the state can
try out guesses: the digest's key is random, local, and never leaves the secrets folder.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Collection, Mapping, Sequence

from karst.errors import KarstError, UsageError
from karst.identity import sources
from karst.identity.store import CONTAINER_UID, Store, read

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def hand_over(
    store: Store,
    wanted: Mapping[str, Sequence[str]],
    own_images: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> dict[str, dict[str, str]]:
    """Write ``<secrets>/app/<service>/<NAME>`` for each name; return {service: {app_secrets, app_secrets_digest}}.

    ``own_images`` are services whose image has a user of its own. ``app_secrets`` is the folder to mount at
    /run/secrets, "" for a service that asks for nothing.
    Raises KarstError naming every variable that is not set, before anything is written.
    """
    _check_names(wanted)
    known = sources.find(
        (name for names in wanted.values() for name in names), os.environ if environ is None else environ
    )
    _check_values(wanted, known)
    result = {}
    for service, names in wanted.items():
        values = {name: known[name].encode(errors="surrogateescape") for name in sorted(set(names))}
        result[service] = _write(store, service, values, known_user=service not in own_images)
    return result


def _check_names(wanted: Mapping[str, Sequence[str]]) -> None:
    for service, names in wanted.items():
        for name in names:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise UsageError(f"service `{service}`: `{name}` is not the name of a variable", code="bad_secret_name")


def _check_values(wanted: Mapping[str, Sequence[str]], known: Mapping[str, str]) -> None:
    missing = {service: absent for service, names in wanted.items() if (absent := [n for n in names if n not in known])}
    if missing:
        whole = _missing([f"`{name}` (service `{service}`)" for service, names in missing.items() for name in names])
        # `iac` holds just these services, where what they ran with last needs no such variable
        whole.parts = {service: _missing([f"`{name}`" for name in names]) for service, names in missing.items()}
        raise whole


def _missing(names: Sequence[str]) -> KarstError:
    return KarstError(
        f"not set in the environment, or empty: {', '.join(names)}",
        hint="export it, or put it into .env; `secrets:` in the list names what a service gets as files",
        code="secret_missing",
    )


def _write(store: Store, service: str, values: Mapping[str, bytes], *, known_user: bool) -> dict[str, str]:
    folder = store.root / "app" / service
    if not values and not folder.exists():
        return {"app_secrets": "", "app_secrets_digest": ""}
    # The app runs as the kit's images' user, or as one that only its own image knows. Where the files cannot be that
    # user's own, they are readable by all, and the folder above them, which is not mounted, keeps everybody else on the
    # machine out.
    own = known_user and store.owner[0] == CONTAINER_UID
    store.folder("app")
    store.folder("app", service, mode=0o700 if own else 0o755)
    for stale in folder.iterdir():
        if stale.name not in values:
            stale.unlink()
    for name, value in values.items():
        store.put(folder / name, value, mode=0o400 if own else 0o444)
    if not values:
        return {"app_secrets": "", "app_secrets_digest": ""}
    return {"app_secrets": str(folder), "app_secrets_digest": _digest(store, values)}


def digest(store: Store, service: str) -> str:
    """The digest of the files as they lie there now, "" when there are none; OSError when they may not be read."""
    folder = store.root / "app" / service
    values = {path.name: read(path) for path in folder.iterdir()} if folder.exists() else {}
    return _digest(store, values) if values and (store.root / "app" / ".digest-key").exists() else ""


def _digest(store: Store, values: Mapping[str, bytes]) -> str:
    found = hmac.new(_digest_key(store), digestmod="sha256")
    for name, value in sorted(values.items()):
        for part in (name.encode(), value):
            found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def _digest_key(store: Store) -> bytes:
    path = store.root / "app" / ".digest-key"
    if not path.exists():
        store.put(path, secrets.token_bytes(32))
    return read(path)
