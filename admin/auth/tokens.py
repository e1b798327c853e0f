"""The strict check of a user's token, without asking anybody but the key set."""

from __future__ import annotations

import re
import uuid
from typing import Any

import jwt

from admin.auth.errors import Unauthenticated
from admin.auth.jwks import KeySet
from admin.auth.settings import AuthSettings

LEEWAY = 5
MAX_LENGTH = 8192
_ASYMMETRIC = {"ES256": "EC", "RS256": "RSA"}
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


def bearer(header: str | None) -> str:
    """The token of an Authorization header; Unauthenticated for anything but exactly one bearer token."""
    if not header:
        raise Unauthenticated("no_authorization", "no bearer token", "send `Authorization: Bearer <token>`")
    scheme, _, token = header.partition(" ")
    token = token.strip(" ")
    # Two headers of one name arrive joined by a comma, which no token contains.
    if scheme.lower() != "bearer" or not token or re.search(r"[\s,]", token):
        raise Unauthenticated("no_authorization", "no bearer token", "send `Authorization: Bearer <token>`, once")
    if token.startswith(("sb_secret_", "sb_publishable_")):
        raise Unauthenticated(
            "api_key", "an API key is not a token", "sign in as a user; a legacy service_role JWT is accepted too"
        )
    if len(token) > MAX_LENGTH or not _SHAPE.fullmatch(token):
        raise Unauthenticated("bad_jwt", "the bearer token is not a JWT")
    return token


def verify_user_token(token: str, settings: AuthSettings, keys: KeySet) -> dict[str, Any]:
    """The claims of a signed-in user's token; Unauthenticated unless every one of them is as it must be.

    Only the algorithm list decides how to verify, never the token: with the published key used as an HMAC secret, or
    with ``alg: none``, everybody could sign.
    """
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as err:
        raise _bad("bad_jwt") from err
    algorithm = str(header.get("alg"))
    if "crit" in header:
        raise _bad("unknown_extension")
    try:
        key = _key(algorithm, header.get("kid"), settings, keys)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError as err:
        raise _bad("expired") from err
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as err:
        raise _bad("bad_jwt") from err
    for name in ("sub", "session_id"):
        if not _is_uuid(claims.get(name)):
            raise _bad(f"bad_{name}")
    if claims.get("role") != "authenticated":
        raise _bad("bad_role")
    if claims.get("is_anonymous", False) is not False:
        raise _bad("anonymous_user")
    return claims


def _key(algorithm: str, kid: object, settings: AuthSettings, keys: KeySet) -> Any:
    if algorithm == "HS256" and settings.hs256_secret:
        return settings.hs256_secret
    if algorithm not in _ASYMMETRIC:
        raise _bad("bad_algorithm")
    if not isinstance(kid, str) or not kid:
        raise _bad("no_kid")
    found = keys.find(kid)
    if found is None:
        raise _bad("unknown_kid")
    fits = found.get("kty") == _ASYMMETRIC[algorithm] and found.get("alg", algorithm) == algorithm
    if not fits or found.get("use", "sig") != "sig":
        raise _bad("key_mismatch")
    return jwt.PyJWK(found, algorithm=algorithm).key


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def _bad(reason: str) -> Unauthenticated:
    return Unauthenticated(reason, "the token is not valid here", "sign in again")
