"""From a token to a principal: strict local check, then the auth server's word, live for every write."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from admin.auth.client import AuthServer
from admin.auth.errors import AuthError, Forbidden, Unauthenticated, Unavailable
from admin.auth.jwks import KeySet
from admin.auth.roles import Role, role_of
from admin.auth.settings import AuthSettings, peek
from admin.auth.tokens import LEEWAY, verify_user_token

_CACHE_SIZE = 1024
# Questions under way at the auth server; more callers than that wait for _PATIENCE, then get 503.
_IN_FLIGHT = 8
_PATIENCE = 5.0


@dataclass(frozen=True)
class Principal:
    """Who is calling.

    Attributes:
        subject: ``user:<uuid>``, ``service_role`` or ``uid:<n>``: what limits, audit and ownership count by.
        role: what they may do.
        name: an e-mail address or other words for people, or "".
        expires: when their token ends (seconds since the epoch), or None.
    """

    subject: str
    role: Role
    name: str = ""
    expires: float | None = None


class Authenticator:
    """Checks tokens for one auth server."""

    def __init__(self, settings: AuthSettings, server: AuthServer | None = None) -> None:
        self._settings = settings
        self._server = server or AuthServer(settings)
        self._keys = KeySet(self._server.jwks)
        self._cache: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_IN_FLIGHT)

    def check(self, token: str, *, live: bool) -> Principal:
        """The principal of ``token``.

        ``live`` asks the auth server now; otherwise its last word may be up to ``cache_seconds`` old. Raises
        Unauthenticated, Forbidden (no role) or Unavailable.
        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        claims = peek(token)
        service = claims is not None and claims.get("role") == "service_role" and "sub" not in claims
        confirm = self._confirm_service if service else self._confirm_user
        expires = None if service else float(verify_user_token(token, self._settings, self._keys)["exp"])
        if not live:
            known = self._recall(digest)
            if known is not None:
                return known
        try:
            principal = replace(self._asking(confirm, token), expires=expires or _expiry(claims))
        except AuthError:
            self._forget(digest)
            raise
        self._remember(digest, principal)
        return principal

    def _confirm_user(self, token: str) -> Principal:
        user = self._server.user(token)
        claims = peek(token) or {}
        if user["id"] != claims.get("sub"):
            raise Unauthenticated("user_mismatch", "the auth server describes another user than the token")
        if user.get("is_anonymous") or user.get("role", "authenticated") != "authenticated":
            raise Unauthenticated("bad_role", "the token is not a signed-in user's")
        role = role_of(user, self._settings.users)
        email = user.get("email")
        if role is None:
            raise Forbidden(
                "no_role",
                "this user has no role here",
                "an owner of the project sets app_metadata.karst_role to viewer, deployer or admin",
            )
        return Principal(f"user:{user['id']}", role, email if isinstance(email, str) else "")

    def _confirm_service(self, token: str) -> Principal:
        expires = _expiry(peek(token))
        if expires is None or expires + LEEWAY < time.time():
            raise Unauthenticated("expired", "the service_role token has expired, or never does", "use the project's key")
        self._server.confirm_service_role(token)
        return Principal("service_role", Role.ADMIN, "service_role")

    def _asking(self, confirm: Callable[[str], Principal], token: str) -> Principal:
        if not self._slots.acquire(timeout=_PATIENCE):
            raise Unavailable("auth_server_slow", "the auth server is too slow to answer everybody")
        try:
            return confirm(token)
        finally:
            self._slots.release()

    def _recall(self, digest: str) -> Principal | None:
        with self._lock:
            until, principal = self._cache.get(digest, (0.0, None))
            return principal if time.monotonic() < until else None

    def _remember(self, digest: str, principal: Principal) -> None:
        with self._lock:
            self._cache[digest] = (time.monotonic() + self._settings.cache_seconds, principal)
            self._cache.move_to_end(digest)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)

    def _forget(self, digest: str) -> None:
        with self._lock:
            self._cache.pop(digest, None)


def _expiry(claims: dict[str, object] | None) -> float | None:
    value = (claims or {}).get("exp")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
