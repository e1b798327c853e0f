"""Where the auth server is, and what a token must look like. Sample or missing values are refused at the start."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from admin.auth.roles import Role, parse_grants
from karst.errors import Exit, KarstError

# What stands in samples and documentation, and not in a real project's URL or key. A JWT is never held against it:
# random base64 contains any short word now and then.
_SAMPLE = re.compile(
    r"your[-_ ]|\bexample\b|xyzcompany|project[-_]ref|change[-_ ]?me|placeholder|replace[-_ ]|service[-_]role[-_]key"
    r"|x{6,}|<|>|\.\.\.",
    re.IGNORECASE,
)
# The issuer of the keys that every `supabase start` prints: public knowledge.
_DEMO_ISSUER = "supabase-demo"
_MIN_SECRET = 32


class SettingsError(KarstError):
    """A setting the admin app cannot start with."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class AuthSettings:
    """Everything the checks need.

    Attributes:
        url: base URL of the Supabase project, without a trailing slash.
        service_key: sent as ``apikey``; a legacy service_role JWT or a ``sb_secret_…`` key.
        prefix: path before the auth server's routes; a bare server has none.
        issuer: the only accepted ``iss``.
        audience: the only accepted ``aud``.
        hs256_secret: the project's legacy JWT secret when HS256 was allowed, else "".
        users: roles by user id or confirmed e-mail address; they win over ``app_metadata.karst_role``.
        cache_seconds: how long a read may rely on the last live confirmation; writes never do.
        timeout: seconds to wait for the auth server.
        public_key: the project's publishable (or anon) key, with which the page signs people in; "" for none.
    """

    url: str
    service_key: str = field(repr=False)
    prefix: str = "/auth/v1"
    issuer: str = ""
    audience: str = "authenticated"
    hs256_secret: str = field(default="", repr=False)
    users: Mapping[str, Role] = field(default_factory=dict)
    cache_seconds: float = 15.0
    timeout: float = 5.0
    public_key: str = ""

    @property
    def base(self) -> str:
        return self.url + self.prefix


def from_env(env: Mapping[str, str]) -> AuthSettings:
    """Read the settings; raise SettingsError with one sentence for anything missing, sample or unsafe."""
    url = _url(_required(env, "SUPABASE_URL", "the URL of the Supabase project"), env)
    key = _service_key(_required(env, "SUPABASE_SERVICE_ROLE_KEY", "the project's service role or secret key"), url)
    prefix = "/" + env.get("KARST_AUTH_PREFIX", "/auth/v1").strip("/")
    prefix = "" if prefix == "/" else prefix
    return AuthSettings(
        url=url,
        service_key=key,
        prefix=prefix,
        issuer=env.get("KARST_AUTH_ISSUER") or url + prefix,
        audience=env.get("KARST_AUTH_AUDIENCE") or "authenticated",
        hs256_secret=_hs256_secret(env),
        users=parse_grants(env.get("KARST_ADMIN_USERS", ""), "KARST_ADMIN_USERS"),
        cache_seconds=_seconds(env, "KARST_AUTH_CACHE_SECONDS", 15.0, most=60.0),
        public_key=_public_key(env.get("SUPABASE_ANON_KEY", "").strip()),
    )


def _required(env: Mapping[str, str], name: str, what: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(
            f"{name} is not set",
            hint=f"put {what} into .env (see .env.example) or the environment",
            code="missing_setting",
        )
    if peek(value) is None and _SAMPLE.search(value):
        raise SettingsError(
            f"{name} still has the value of the sample", hint=f"put {what} into .env", code="sample_setting"
        )
    return value


def _url(value: str, env: Mapping[str, str]) -> str:
    parts = urlsplit(value.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise SettingsError(
            f"SUPABASE_URL is not a plain http(s) URL: {value!r}",
            hint="it looks like https://<project>.supabase.co",
            code="bad_setting",
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname) and env.get("KARST_AUTH_ALLOW_HTTP") != "1":
        raise SettingsError(
            "SUPABASE_URL is http:// to another machine: every token would cross the network in clear",
            hint="use https://, or set KARST_AUTH_ALLOW_HTTP=1 where the network itself is private",
            code="insecure_setting",
        )
    return value.rstrip("/")


def _service_key(key: str, url: str) -> str:
    if key.startswith("sb_secret_"):
        return key
    if key.startswith("sb_publishable_"):
        raise SettingsError(
            "SUPABASE_SERVICE_ROLE_KEY holds a publishable key",
            hint="use the project's secret key (sb_secret_…) or its service_role key",
            code="bad_setting",
        )
    claims = peek(key)
    if claims is None:
        raise SettingsError(
            "SUPABASE_SERVICE_ROLE_KEY is neither a JWT nor an sb_secret_… key",
            hint="copy it from the project's API settings",
            code="bad_setting",
        )
    if claims.get("role") != "service_role":
        raise SettingsError(
            f"SUPABASE_SERVICE_ROLE_KEY is a key of the role {str(claims.get('role'))[:40]!r}, not of `service_role`",
            hint="copy the service_role key from the project's API settings",
            code="bad_setting",
        )
    if claims.get("iss") == _DEMO_ISSUER and not _is_loopback(urlsplit(url).hostname or ""):
        raise SettingsError(
            "SUPABASE_SERVICE_ROLE_KEY is the demo key that every local Supabase has",
            hint="use the project's own key; the demo key is accepted for a server on this machine only",
            code="sample_setting",
        )
    return key


def _public_key(key: str) -> str:
    """The key that every visitor of the page is given: refused unless it is one that is meant for everybody."""
    if not key or key.startswith("sb_publishable_"):
        return key
    claims = peek(key) or {}
    if claims.get("role") != "anon":
        raise SettingsError(
            "SUPABASE_ANON_KEY is not a publishable key: the page gives it to everybody who opens it",
            hint="copy the publishable key (sb_publishable_…) or the anon key from the project's API settings",
            code="bad_setting",
        )
    return key


def _hs256_secret(env: Mapping[str, str]) -> str:
    if env.get("KARST_AUTH_ALLOW_HS256") != "1":
        return ""
    secret = env.get("KARST_AUTH_JWT_SECRET", "")
    if len(secret.encode()) < _MIN_SECRET or _SAMPLE.search(secret):
        raise SettingsError(
            "KARST_AUTH_ALLOW_HS256=1 needs KARST_AUTH_JWT_SECRET, at least 32 bytes and not a sample",
            hint="better: move the project to asymmetric signing keys and leave HS256 off",
            code="bad_setting",
        )
    return secret


def _seconds(env: Mapping[str, str], name: str, default: float, *, most: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise SettingsError(f"{name} must be a number of seconds from 0 to {most:g}, not {text!r}", code="bad_setting")
    return value


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def peek(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, unverified: to choose a check, never to trust. None for anything that is not a JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
