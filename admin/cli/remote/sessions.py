"""Tokens of admin apps, one file each, 0600, in ``$XDG_CONFIG_HOME/karst/sessions``; refreshed before they end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from karst.errors import Exit, KarstError
from karst.files import locked, write_atomic

# A token that ends within this many seconds is refreshed before it is used.
MARGIN = 60.0
TIMEOUT = 15.0


@dataclass(frozen=True)
class Session:
    """What signing in to one admin app gave.

    Attributes:
        name: the admin app's URL, or ``unix:`` and its socket's path.
        token: the access token.
        expires: when it ends, seconds since the epoch; 0 when it does not say.
        refresh: the refresh token, good for one use; "" for a pasted token.
        auth: base URL of the auth server, and ``key`` its publishable key; "" for a pasted token.
    """

    name: str
    token: str = field(repr=False)
    expires: float = 0.0
    refresh: str = field(default="", repr=False)
    auth: str = ""
    key: str = ""


def folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "karst" / "sessions"


def path_of(name: str) -> Path:
    return folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


def save(session: Session) -> None:
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(path_of(session.name), json.dumps(asdict(session)) + "\n", mode=0o600)


def load(name: str) -> Session | None:
    """The stored session; None without one, or when the file is not readable as one."""
    try:
        session = Session(**json.loads(path_of(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return session if session.name == name else None


def forget(name: str) -> None:
    path_of(name).unlink(missing_ok=True)


def token_for(name: str) -> str:
    """The token to send, refreshed when it is about to end; "" without a session.

    Under a lock: a refresh token works once, and two commands must not both use it.
    """
    session = load(name)
    if session is None:
        return ""
    if not session.refresh or session.expires - time.time() > MARGIN:
        return session.token
    with locked(path_of(name).with_suffix(".lock")):
        session = load(name) or session
        if session.expires - time.time() <= MARGIN:
            answer = ask(session.auth, session.key, "refresh_token", {"refresh_token": session.refresh})
            session = from_answer(name, session.auth, session.key, answer)
            save(session)
    return session.token


def ask(auth: str, key: str, grant: str, body: Mapping[str, str]) -> dict[str, Any]:
    """A token from the auth server; KarstError with exit code 4 when it refuses."""
    import requests

    from admin.cli.remote.target import is_loopback

    with requests.Session() as session:
        session.trust_env = not is_loopback(auth)
        try:
            response = session.post(
                f"{auth}/token",
                params={"grant_type": grant},
                headers={"apikey": key},
                json=dict(body),
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            answer = response.json()
        except (requests.RequestException, ValueError) as err:
            raise KarstError(f"the auth server at {auth} does not answer", code="auth_server_unreachable") from err
    if response.status_code == 200 and isinstance(answer, dict) and isinstance(answer.get("access_token"), str):
        return answer
    if response.status_code in (400, 401, 403, 422):
        why = "the sign-in has ended" if grant == "refresh_token" else "the auth server refuses this e-mail or password"
        raise KarstError(why, hint="sign in again: `iac login`", code="not_signed_in", exit_code=Exit.AUTH)
    raise KarstError(f"the auth server at {auth} answered {response.status_code}", code="auth_server_answer")


def from_answer(name: str, auth: str, key: str, answer: Mapping[str, Any]) -> Session:
    token, refresh = str(answer["access_token"]), answer.get("refresh_token")
    return Session(name, token, expiry(token), refresh if isinstance(refresh, str) else "", auth, key)


def expiry(token: str) -> float:
    """When a JWT says that it ends; 0 when it does not. Nothing is verified: the admin app does that."""
    try:
        part = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"])
    except (ValueError, KeyError, IndexError, TypeError):
        return 0.0
