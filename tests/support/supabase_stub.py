"""A stub of the auth server (Supabase Auth, GoTrue v2.196) over real HTTP with real ES256 keys.

It is a stub of a recorded contract: what the real server answered to each kind of token was recorded once, the answers
are in RECORDED of tests/unit/admin/test_auth_matrix.py, and tests hold this stub to them. Where the real server is lax,
this one is, too: no ``exp`` needed, any ``aud`` without X-JWT-AUD, any ``iss``, HS256 with the project's secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PREFIX = "/auth/v1"
SECRET = "a-legacy-jwt-secret-of-forty-characters!"


@dataclass
class User:
    """A row of the users table, and the user's password."""

    email: str
    password: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    role: str = "authenticated"
    anonymous: bool = False
    banned: bool = False
    confirmed: bool = True
    app_metadata: dict[str, Any] = field(default_factory=dict)
    user_metadata: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "aud": "authenticated",
            "role": self.role,
            "email": self.email,
            "email_confirmed_at": "2025-01-01T00:00:00Z" if self.confirmed else None,
            "app_metadata": {"provider": "email", **self.app_metadata},
            "user_metadata": self.user_metadata,
            "is_anonymous": self.anonymous,
        }


class SigningKey:
    """An ES256 key with its published form."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        self.jwk = {
            "kty": "EC",
            "crv": "P-256",
            "kid": kid,
            "alg": "ES256",
            "use": "sig",
            "key_ops": ["verify"],
            "x": _b64(numbers.x.to_bytes(32, "big")),
            "y": _b64(numbers.y.to_bytes(32, "big")),
        }

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: dict[str, Any], kid: str | None = "") -> str:
        headers = {"kid": self.kid if kid == "" else kid} if kid is not None else {}
        return jwt.encode(claims, self.private, algorithm="ES256", headers=headers)


class SupabaseStub:
    """The server: users, sessions and keys are plain attributes that a test may change while it runs."""

    def __init__(self) -> None:
        self.key = SigningKey("key-1")
        self.users: dict[str, User] = {}
        self.sessions: dict[str, str] = {}
        self.refresh_tokens: dict[str, tuple[str, str]] = {}
        self.lifetime = 3600  # seconds that a token of a sign-in lasts
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.delay = 0.0
        self.fail_with = 0
        self.published: list[dict[str, Any]] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.stub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = self.url + PREFIX
        self.service_role_key = self.hs256({"iss": "supabase", "ref": "stub", "role": "service_role", **_years()})
        self.anon_key = self.hs256({"iss": "supabase", "ref": "stub", "role": "anon", **_years()})
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What a test needs

    def add_user(self, karst_role: str | None = None, **fields: Any) -> User:
        user = User(email=fields.pop("email", f"{uuid.uuid4().hex[:8]}@people.test"), **fields)
        if karst_role is not None:
            user.app_metadata["karst_role"] = karst_role
        self.users[user.id] = user
        return user

    def claims(self, user: User, **changes: Any) -> dict[str, Any]:
        """The claims of a fresh token with a session of its own; a change to None leaves the claim out."""
        session = str(uuid.uuid4())
        self.sessions[session] = user.id
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": user.id,
            "aud": "authenticated",
            "exp": now + 3600,
            "iat": now,
            "email": user.email,
            "phone": "",
            "app_metadata": user.app_metadata,
            "user_metadata": user.user_metadata,
            "role": user.role,
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}],
            "session_id": session,
            "is_anonymous": user.anonymous,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, user: User, **changes: Any) -> str:
        return self.key.sign(self.claims(user, **changes))

    def hs256(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, SECRET, algorithm="HS256")

    def log_out(self, token: str) -> None:
        session = jwt.decode(token, options={"verify_signature": False})["session_id"]
        self.sessions.pop(session, None)

    # The routes

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.requests.append((f"{method} {path}", headers))
        if self.delay:
            time.sleep(self.delay)
        if self.fail_with:
            return self.fail_with, {"code": self.fail_with, "error_code": "unexpected_failure", "msg": "stub"}
        route = urlsplit(path)
        if not route.path.startswith(PREFIX):
            return 404, {"code": 404, "error_code": "not_found", "msg": "no such route"}
        name = route.path.removeprefix(PREFIX)
        if (method, name) == ("GET", "/.well-known/jwks.json"):
            return 200, {"keys": [self.key.jwk] if self.published is None else self.published}
        if (method, name) == ("GET", "/user"):
            return self._user(headers)
        if (method, name) == ("GET", "/admin/users"):
            return self._admin_users(headers)
        if (method, name) == ("POST", "/token") and parse_qs(route.query).get("grant_type") == ["password"]:
            return self._password(body)
        if (method, name) == ("POST", "/token") and parse_qs(route.query).get("grant_type") == ["refresh_token"]:
            return self._refresh(body)
        if (method, name) == ("POST", "/logout"):
            return self._logout(headers)
        return 404, {"code": 404, "error_code": "not_found", "msg": "no such route"}

    def _user(self, headers: dict[str, str]) -> tuple[int, Any]:
        claims, refusal = self._verify(headers)
        if claims is None:
            return refusal
        wanted = headers.get("x-jwt-aud")
        if wanted and claims.get("aud") != wanted:
            return 400, _error(400, "validation_failed", "Token audience doesn't match request audience")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            return 403, _error(403, "bad_jwt", "invalid claim: missing sub claim")
        user = self.users.get(claims["sub"])
        if user is None:
            return 403, _error(403, "user_not_found", "User from sub claim in JWT does not exist")
        session = claims.get("session_id")
        if session is not None and self.sessions.get(session) != user.id:
            return 403, _error(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        if user.banned:
            return 403, _error(403, "user_banned", "User is banned")
        return 200, user.to_dict()

    def _admin_users(self, headers: dict[str, str]) -> tuple[int, Any]:
        claims, refusal = self._verify(headers)
        if claims is None:
            return refusal
        if claims.get("role") != "service_role":
            return 403, _error(403, "not_admin", "User not allowed")
        return 200, {"users": [user.to_dict() for user in self.users.values()], "aud": "authenticated"}

    def _password(self, body: bytes) -> tuple[int, Any]:
        given = json.loads(body or b"{}")
        for user in self.users.values():
            if user.email == given.get("email") and user.password and user.password == given.get("password"):
                return 200, self._session(user, str(uuid.uuid4()))
        return 400, _error(400, "invalid_credentials", "Invalid login credentials")

    def _refresh(self, body: bytes) -> tuple[int, Any]:
        """A refresh token works once, and only while its session lasts."""
        user_id, session = self.refresh_tokens.pop(json.loads(body or b"{}").get("refresh_token", ""), ("", ""))
        if not user_id or self.sessions.get(session) != user_id:
            return 400, _error(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        return 200, self._session(self.users[user_id], session)

    def _session(self, user: User, session: str) -> dict[str, Any]:
        refresh = uuid.uuid4().hex[:12]
        self.refresh_tokens[refresh] = (user.id, session)
        claims = self.claims(user, exp=int(time.time()) + self.lifetime)
        # `claims` makes a session of its own; this token belongs to the one that was begun with the password.
        del self.sessions[claims["session_id"]]
        self.sessions[session] = user.id
        return {
            "access_token": self.key.sign({**claims, "session_id": session}),
            "token_type": "bearer",
            "expires_in": self.lifetime,
            "refresh_token": refresh,
            "user": user.to_dict(),
        }

    def _logout(self, headers: dict[str, str]) -> tuple[int, Any]:
        claims, refusal = self._verify(headers)
        if claims is None:
            return refusal
        self.sessions.pop(claims.get("session_id", ""), None)
        return 204, None

    def _verify(self, headers: dict[str, str]) -> tuple[dict[str, Any] | None, tuple[int, Any]]:
        """Signature and times, as laxly as the real server: no claim has to be there."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None, (401, _error(401, "no_authorization", "This endpoint requires a valid Bearer token"))
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") == "HS256":
                claims = _decode_hs256(token, SECRET)
            elif header.get("alg") == "ES256" and header.get("kid") == self.key.kid:
                claims = jwt.decode(
                    token,
                    self.key.private.public_key(),
                    algorithms=["ES256"],
                    options={"verify_aud": False, "verify_iss": False, "verify_iat": False, "verify_sub": False},
                )
            else:
                raise ValueError("unverifiable")
        except (jwt.PyJWTError, ValueError) as err:
            return None, (403, _error(403, "bad_jwt", f"invalid JWT: {type(err).__name__}"))
        return claims, (0, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_OPTIONS(self) -> None:
        """As a hosted project's gateway: pages of any origin may ask, since no cookie is involved."""
        self.send_response(204)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "authorization,apikey,content-type,x-client-info")
        self.end_headers()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        stub: SupabaseStub = self.server.stub  # type: ignore[attr-defined]
        status, answer = stub.answer(self.command, self.path, headers, body)
        raw = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(raw)))
        if self.path.endswith("jwks.json"):
            self.send_header("Cache-Control", "public, max-age=600")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _decode_hs256(token: str, secret: str) -> dict[str, Any]:
    """HS256 by hand: a library refuses some keys that an attacker would use."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(sign_hs256(signed, secret.encode()), signature):
        raise ValueError("signature")
    payload = signed.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    now = time.time()
    if claims.get("exp", now + 1) <= now or claims.get("nbf", now) > now:
        raise ValueError("time")
    return claims


def sign_hs256(signed: str, secret: bytes) -> str:
    return _b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def encode_raw(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """A token with any header, signed with any bytes, or not at all."""
    signed = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{signed}.{sign_hs256(signed, secret) if secret is not None else ''}"


def _error(code: int, error_code: str, message: str) -> dict[str, Any]:
    return {"code": code, "error_code": error_code, "msg": message}


def _years() -> dict[str, int]:
    now = int(time.time())
    return {"iat": now - 60, "exp": now + 10 * 365 * 86400}


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
