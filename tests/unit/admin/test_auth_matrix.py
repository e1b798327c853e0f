"""Every kind of token, against the stub always and against a real auth server when KARST_TEST_AUTH_URL names one.

RECORDED is what a real server (GoTrue v2.196) answered, and what the admin app must make of it. The third column is the
strict local check alone, the last one the verdict of both checks: only two kinds of token get in. ADDED are neighbours
of those cases that follow from the same rules; nobody recorded them, so only our own verdict is tested for them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import requests

from admin.auth.authenticate import Authenticator
from admin.auth.client import AuthServer
from admin.auth.errors import Unauthenticated
from admin.auth.jwks import KeySet
from admin.auth.settings import AuthSettings
from admin.auth.tokens import bearer, verify_user_token
from tests.support.auth_server import Auth, RealAuth, StubAuth
from tests.support.supabase_stub import SigningKey, SupabaseStub, encode_raw

NOW = int(time.time())


def _changed(**changes: object) -> Callable[[Auth], str]:
    """A validly signed token with other claims; None takes one out."""

    def make(auth: Auth) -> str:
        claims = {**auth.person().claims, **changes}
        return "Bearer " + auth.mint({name: value for name, value in claims.items() if value is not None})

    return make


def _hs256(**changes: object) -> Callable[[Auth], str]:
    def make(auth: Auth) -> str:
        claims = {**auth.person().claims, **changes}
        return "Bearer " + auth.hs256({name: value for name, value in claims.items() if value is not None})

    return make


def _after(what: str) -> Callable[[Auth], str]:
    def make(auth: Auth) -> str:
        person = auth.person()
        getattr(auth, what)(person)
        return "Bearer " + person.token

    return make


def _tampered(auth: Auth) -> str:
    head, _, signature = auth.person().token.split(".")
    other = auth.person().token.split(".")[1]
    return f"Bearer {head}.{other}.{signature}"


def _raw(header: dict[str, str], *, pem: bool = False, sign: bool = True) -> Callable[[Auth], str]:
    def make(auth: Auth) -> str:
        claims = auth.person().claims
        secret = auth.public_pem() if pem else b"not-the-secret-of-this-project-at-all"
        return "Bearer " + encode_raw({"typ": "JWT", **header}, claims, secret if sign else None)

    return make


def _anon(auth: Auth) -> str:
    return "Bearer " + auth.hs256({"iss": "supabase", "role": "anon", "iat": NOW, "exp": NOW + 3600})


# name: (header, GET /user, GET /admin/users, strict local check accepts, both checks accept)
RECORDED: dict[str, tuple[Callable[[Auth], str | None], int, int, bool, bool]] = {
    "valid user": (lambda auth: "Bearer " + auth.person().token, 200, 403, True, True),
    "legacy service_role JWT": (lambda auth: "Bearer " + auth.service_role, 403, 200, False, True),
    "anon JWT": (_anon, 403, 403, False, False),
    "sb_secret string": (lambda auth: "Bearer sb_secret_" + "k" * 22, 403, 403, False, False),
    "garbage": (lambda auth: "Bearer garbage", 403, 403, False, False),
    "expired": (_changed(exp=NOW - 60), 403, 403, False, False),
    "nbf in the future": (_changed(nbf=NOW + 600), 403, 403, False, False),
    "alg none": (_raw({"alg": "none"}, sign=False), 403, 403, False, False),
    "wrong EC key": (
        lambda auth: "Bearer " + SigningKey(auth.kid()).sign(auth.person().claims),
        403,
        403,
        False,
        False,
    ),
    "unknown kid": (lambda auth: "Bearer " + auth.mint(auth.person().claims, kid="other"), 403, 403, False, False),
    "no kid": (lambda auth: "Bearer " + auth.mint(auth.person().claims, kid=None), 403, 403, False, False),
    "HS256 keyed with the public PEM": (_raw({"alg": "HS256", "kid": "key-1"}, pem=True), 403, 403, False, False),
    "tampered": (_tampered, 403, 403, False, False),
    "no exp": (_changed(exp=None), 200, 403, False, False),
    "iat in the future": (_changed(iat=NOW + 600), 200, 403, False, False),
    "iss other": (_changed(iss="https://other.test/auth/v1"), 200, 403, False, False),
    "no session_id": (_changed(session_id=None), 200, 403, False, False),
    "anonymous user": (lambda auth: "Bearer " + auth.person(anonymous=True).token, 200, 403, False, False),
    "aud other": (_changed(aud="other"), 200, 403, False, False),
    "HS256 with the legacy secret": (_hs256(), 200, 403, False, False),
    "HS256 without exp": (_hs256(exp=None), 200, 403, False, False),
    "HS256 with another iss": (_hs256(iss="other"), 200, 403, False, False),
    "sub missing": (_changed(sub=None), 403, 403, False, False),
    "logged out": (_after("log_out"), 403, 403, True, False),
    "banned": (_after("ban"), 403, 403, True, False),
    "deleted": (_after("delete"), 403, 403, True, False),
    "user row with role service_role": (
        lambda auth: "Bearer " + auth.person(row_role="service_role").token,
        200,
        200,
        False,
        False,
    ),
    "no token": (lambda auth: None, 401, 401, False, False),
    "Basic": (lambda auth: "Basic dXNlcjpwYXNz", 401, 401, False, False),
}

ADDED: dict[str, tuple[Callable[[Auth], str | None], int, int, bool, bool]] = {
    "garbage in three parts": (lambda auth: "Bearer a.b.c", 0, 0, False, False),
    "alg None with a signature": (_raw({"alg": "None"}), 0, 0, False, False),
    "HS256 with another secret": (_raw({"alg": "HS256"}), 0, 0, False, False),
    "no iat": (_changed(iat=None), 0, 0, False, False),
    "no iss": (_changed(iss=None), 0, 0, False, False),
    "no aud": (_changed(aud=None), 0, 0, False, False),
    "Bearer without a token": (lambda auth: "Bearer ", 0, 0, False, False),
}
CASES = RECORDED | ADDED

_REAL = bool(os.environ.get("KARST_TEST_AUTH_URL") and os.environ.get("KARST_TEST_AUTH_JWT_SECRET"))


@pytest.fixture(params=["stub", "real"] if _REAL else ["stub"])
def auth(request: pytest.FixtureRequest, supabase: SupabaseStub) -> Auth:
    return StubAuth(supabase) if request.param == "stub" else RealAuth()


@pytest.mark.skipif(
    not _REAL,
    reason="NO REAL AUTH SERVER: set KARST_TEST_AUTH_URL and KARST_TEST_AUTH_JWT_SECRET to run the whole matrix on one",
)
def test_the_matrix_has_run_against_a_real_auth_server(auth: Auth) -> None:
    """There to be seen in the summary when it is skipped."""
    assert _get(auth, "/health", None) < 500


def settings_for(auth: Auth, **changes: object) -> AuthSettings:
    settings = AuthSettings(auth.url, auth.service_role, prefix=auth.prefix, issuer=auth.issuer)
    return replace(settings, **changes)  # type: ignore[arg-type]


@dataclass
class Checks:
    """The checks of the admin app, one by one and together, as yes or no."""

    auth: Auth
    changes: dict[str, object]

    def strictly_local(self, header: str | None) -> bool:
        settings = settings_for(self.auth, **self.changes)
        try:
            verify_user_token(bearer(header), settings, KeySet(AuthServer(settings).jwks))
        except Unauthenticated:
            return False
        return True

    def both(self, header: str | None, *, live: bool) -> bool:
        authenticator = Authenticator(settings_for(self.auth, **self.changes))
        try:
            authenticator.check(bearer(header), live=live)
        except Unauthenticated:
            return False
        return True


def _get(auth: Auth, path: str, header: str | None, **headers: str) -> int:
    sent = {"apikey": auth.service_role, **headers} | ({"Authorization": header} if header else {})
    return requests.get(auth.url + auth.prefix + path, headers=sent, timeout=10).status_code


@pytest.mark.parametrize("case", RECORDED)
def test_the_auth_server_answers_as_recorded(case: str, auth: Auth) -> None:
    """Holds the stub to the record, and the record to a real server."""
    make, user, admin, _, _ = RECORDED[case]
    header = make(auth)
    assert (_get(auth, "/user", header), _get(auth, "/admin/users", header)) == (user, admin)


@pytest.mark.parametrize("case", CASES)
def test_the_strict_local_check_accepts_what_it_should(case: str, auth: Auth) -> None:
    """Alone it is too weak for people who were logged out, banned or deleted: the table says so."""
    make, _, _, strict, _ = CASES[case]
    assert Checks(auth, {}).strictly_local(make(auth)) is strict


@pytest.mark.parametrize("live", [True, False], ids=["write", "read"])
@pytest.mark.parametrize("case", CASES)
def test_both_checks_together_let_in_only_users_and_the_service_role(case: str, live: bool, auth: Auth) -> None:
    """The verdict of the admin app; a read that nothing is remembered for asks the server like a write."""
    make, _, _, _, accepted = CASES[case]
    assert Checks(auth, {}).both(make(auth), live=live) is accepted


@pytest.mark.parametrize("path", ["/user", "/admin/users"])
def test_a_token_in_the_url_is_no_token(path: str, auth: Auth) -> None:
    """``?access_token=`` answers 401 like no token at all."""
    token = auth.person().token
    assert _get(auth, f"{path}?access_token={token}", None) == 401


def test_the_audience_header_makes_the_server_refuse_a_foreign_audience(auth: Auth) -> None:
    """200 without it, 400 with it: the admin app always sends it."""
    header = _changed(aud="other")(auth)
    assert _get(auth, "/user", header) == 200
    assert _get(auth, "/user", header, **{"X-JWT-AUD": "authenticated"}) == 400


def test_hs256_is_accepted_only_when_allowed_and_still_strictly(auth: Auth) -> None:
    """With the project's secret set, a signed-in user's HS256 token passes, one without an end does not."""
    allowed = Checks(auth, {"hs256_secret": auth.secret})
    assert allowed.both(_hs256()(auth), live=True)
    for case in ("HS256 without exp", "HS256 with another iss", "HS256 keyed with the public PEM", "anon JWT"):
        assert not allowed.both(CASES[case][0](auth), live=True), case
