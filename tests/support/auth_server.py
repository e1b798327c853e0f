"""The auth server that the token matrix runs against: the stub always, a real one when the environment names it.

KARST_TEST_AUTH_URL         base URL of a real Supabase Auth server (GoTrue) whose users may be made and deleted
KARST_TEST_AUTH_JWT_SECRET  its JWT secret (HS256)
KARST_TEST_AUTH_PREFIX      path prefix; default none, as on the bare server
KARST_TEST_AUTH_JWT_KEY     its private ES256 signing key as a JWK, for the cases that mint validly signed odd tokens
"""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any, Protocol

import jwt
import pytest
import requests

from tests.support.supabase_stub import PREFIX, SECRET, SigningKey, SupabaseStub, User


class Person:
    """A user of the server under test, signed in."""

    def __init__(self, id: str, token: str, claims: dict[str, Any]) -> None:
        self.id = id
        self.token = token
        self.claims = claims


class Auth(Protocol):
    """What the matrix needs from a server."""

    url: str
    prefix: str
    issuer: str
    secret: str
    service_role: str

    def person(self, role: str | None = "admin", *, row_role: str = "", anonymous: bool = False) -> Person: ...
    def mint(self, claims: dict[str, Any], kid: str | None = "") -> str: ...
    def hs256(self, claims: dict[str, Any]) -> str: ...
    def public_pem(self) -> bytes: ...
    def kid(self) -> str: ...
    def log_out(self, person: Person) -> None: ...
    def ban(self, person: Person) -> None: ...
    def delete(self, person: Person) -> None: ...


class StubAuth:
    """The always-on stub."""

    prefix = PREFIX
    secret = SECRET

    def __init__(self, stub: SupabaseStub) -> None:
        self.stub = stub
        self.url, self.issuer, self.service_role = stub.url, stub.issuer, stub.service_role_key

    def person(self, role: str | None = "admin", *, row_role: str = "", anonymous: bool = False) -> Person:
        user = self.stub.add_user(role, anonymous=anonymous, role=row_role or "authenticated")
        claims = self.stub.claims(user)
        return Person(user.id, self.stub.key.sign(claims), claims)

    def mint(self, claims: dict[str, Any], kid: str | None = "") -> str:
        return self.stub.key.sign(claims, kid)

    def hs256(self, claims: dict[str, Any]) -> str:
        return self.stub.hs256(claims)

    def public_pem(self) -> bytes:
        return self.stub.key.public_pem

    def kid(self) -> str:
        return self.stub.key.kid

    def log_out(self, person: Person) -> None:
        self.stub.log_out(person.token)

    def ban(self, person: Person) -> None:
        self._user(person).banned = True

    def delete(self, person: Person) -> None:
        del self.stub.users[person.id]

    def _user(self, person: Person) -> User:
        return self.stub.users[person.id]


class RealAuth:
    """A real server. A case that it is not set up for (no signing key, anonymous sign-ins off) is skipped, aloud."""

    def __init__(self) -> None:
        self.url = os.environ["KARST_TEST_AUTH_URL"].rstrip("/")
        self.prefix = os.environ.get("KARST_TEST_AUTH_PREFIX", "")
        self.issuer = os.environ.get("KARST_TEST_AUTH_ISSUER", self.url + self.prefix)
        self.secret = os.environ["KARST_TEST_AUTH_JWT_SECRET"]
        key = os.environ.get("KARST_TEST_AUTH_JWT_KEY")
        self._jwk: dict[str, Any] | None = json.loads(key) if key else None
        now = int(time.time())
        self.service_role = self.hs256({"iss": "supabase", "role": "service_role", "iat": now, "exp": now + 3600})

    def person(self, role: str | None = "admin", *, row_role: str = "", anonymous: bool = False) -> Person:
        if anonymous:
            answer = self._call("POST", "/signup", {}, None)
            if "access_token" not in answer:
                pytest.skip(f"the real auth server has no anonymous sign-ins: {answer}")
        else:
            email, password = f"{uuid.uuid4().hex[:10]}@people.test", uuid.uuid4().hex
            body: dict[str, Any] = {"email": email, "password": password, "email_confirm": True}
            body["app_metadata"] = {"karst_role": role} if role else {}
            if row_role:
                body["role"] = row_role
            self._call("POST", "/admin/users", body, self.service_role)
            answer = self._call("POST", "/token?grant_type=password", {"email": email, "password": password}, None)
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        return Person(claims["sub"], answer["access_token"], claims)

    def mint(self, claims: dict[str, Any], kid: str | None = "") -> str:
        jwk = self._key()
        headers = {"kid": jwk["kid"] if kid == "" else kid} if kid is not None else {}
        return jwt.encode(claims, jwt.PyJWK(jwk, algorithm="ES256").key, algorithm="ES256", headers=headers)

    def hs256(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.secret, algorithm="HS256")

    def public_pem(self) -> bytes:
        from cryptography.hazmat.primitives import serialization

        public = jwt.PyJWK(self._key(), algorithm="ES256").key.public_key()
        pem: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return pem

    def kid(self) -> str:
        return str(self._key()["kid"])

    def log_out(self, person: Person) -> None:
        self._call("POST", "/logout", {}, person.token)

    def ban(self, person: Person) -> None:
        self._call("PUT", f"/admin/users/{person.id}", {"ban_duration": "24h"}, self.service_role)

    def delete(self, person: Person) -> None:
        self._call("DELETE", f"/admin/users/{person.id}", {}, self.service_role)

    def _key(self) -> dict[str, Any]:
        if self._jwk is None:
            pytest.skip(
                "KARST_TEST_AUTH_JWT_KEY is not set: no validly signed odd token can be made for the real server"
            )
        return self._jwk

    def _call(self, method: str, path: str, body: dict[str, Any], token: str | None) -> dict[str, Any]:
        headers = {"apikey": self.service_role} | ({"Authorization": f"Bearer {token}"} if token else {})
        answer = requests.request(method, self.url + self.prefix + path, json=body, headers=headers, timeout=10)
        decoded = answer.json() if answer.content else {}
        return decoded if isinstance(decoded, dict) else {}


__all__ = ["Auth", "Person", "RealAuth", "SigningKey", "StubAuth"]
