"""From a token to a principal: strict local check, then the auth server's word, live for every write."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
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
_PATIENCE = 1.0


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


@dataclass(frozen=True)
class Claimed:
    """A token that passed the local check.

    Attributes:
        subject: whose it is; for a service_role token, which only the auth server can verify, a hash of the token.
        service: the token claims the service role.
    """

    token: str
    subject: str
    service: bool
    expires: float | None


class Authenticator:
    """Checks tokens for one auth server: `verify` here, then `confirm` there."""

    def __init__(self, settings: AuthSettings, server: AuthServer | None = None) -> None:
        self._settings = settings
        self._server = server or AuthServer(settings)
        self._keys = KeySet(self._server.jwks)
        self._cache: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._lock = threading.Lock()
        # Tokens that nobody has verified yet wait in a queue of their own, so that they cannot keep users out.
        self._slots = {service: threading.BoundedSemaphore(_IN_FLIGHT) for service in (False, True)}

    def verify(self, token: str) -> Claimed:
        """The strict local check; Unauthenticated, or Unavailable when the signing keys cannot be had."""
        claims = peek(token)
        if claims is not None and claims.get("role") == "service_role" and "sub" not in claims:
            expires = _expiry(claims)
            if expires is None or expires + LEEWAY < time.time():
                raise Unauthenticated(
                    "expired", "the service_role token has expired, or never does", "use the project's key"
                )
            return Claimed(token, f"unverified:{_digest(token)[:16]}", True, expires)
        claims = verify_user_token(token, self._settings, self._keys)
        return Claimed(token, f"user:{claims['sub']}", False, float(claims["exp"]))

    def confirm(self, claimed: Claimed, *, live: bool) -> Principal:
        """What the auth server says: now when ``live``, else up to ``cache_seconds`` ago.

        Raises Unauthenticated, Forbidden (no role) or Unavailable.
        """
        digest = _digest(claimed.token)
        if not live:
            known = self._recall(digest)
            if known is not None:
                return known
        try:
            principal = replace(self._ask(claimed), expires=claimed.expires)
        except AuthError:
            self._forget(digest)
            raise
        self._remember(digest, principal)
        return principal

    def check(self, token: str, *, live: bool) -> Principal:
        """Both checks in one."""
        return self.confirm(self.verify(token), live=live)

    def _ask(self, claimed: Claimed) -> Principal:
        slots = self._slots[claimed.service]
        if not slots.acquire(timeout=_PATIENCE):
            raise Unavailable("auth_server_slow", "the auth server is too slow to answer everybody")
        try:
            if claimed.service:
                self._server.confirm_service_role(claimed.token)
                return Principal("service_role", Role.ADMIN, "service_role")
            return self._confirm_user(claimed)
        finally:
            slots.release()

    def _confirm_user(self, claimed: Claimed) -> Principal:
        user = self._server.user(claimed.token)
        if f"user:{user['id']}" != claimed.subject:
            raise Unauthenticated("user_mismatch", "the auth server describes another user than the token")
        if user.get("is_anonymous") or user.get("role", "authenticated") != "authenticated":
            raise Unauthenticated("bad_role", "the token is not a signed-in user's")
        role = role_of(user, self._settings.users)
        if role is None:
            raise Forbidden(
                "no_role",
                "this user has no role here",
                "an owner of the project sets app_metadata.karst_role to viewer, deployer or admin",
            )
        email = user.get("email")
        return Principal(claimed.subject, role, email if isinstance(email, str) else "")

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


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _expiry(claims: dict[str, object] | None) -> float | None:
    value = (claims or {}).get("exp")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
