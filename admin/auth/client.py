"""The auth server over HTTP: one question a method, a short time limit, no redirects, no token in any message."""

from __future__ import annotations

import json
import time
from typing import Any

import requests
from requests.auth import AuthBase

from admin.auth.errors import Unauthenticated, Unavailable
from admin.auth.settings import AuthSettings

_MAX_ANSWER = 256 * 1024
# After a question that got no answer the next ones are refused at once for a while: waiting for a server that is down
# would use up the threads that everybody needs.
_REST_SECONDS = 2.0


class _Bearer(AuthBase):
    """Sets the header through requests' own hook: a plain header would be replaced by an entry of ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _NoAuth(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class AuthServer:
    """``GET /user``, ``GET /admin/users`` and the key set of one auth server."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._rest_until = 0.0

    def user(self, token: str) -> dict[str, Any]:
        """The user of this token as the server knows it now; Unauthenticated when it knows none."""
        answer = self._get("/user", token)
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
            raise Unavailable("auth_server_answer", "the auth server described no user")
        return answer

    def confirm_service_role(self, token: str) -> None:
        """Return when the server accepts ``token`` for administration.

        The legacy service_role JWT has no ``sub``, so ``/user`` answers 403 for it; this route is the one that tells.
        """
        self._get("/admin/users?page=1&per_page=1", token)

    def jwks(self) -> list[dict[str, Any]]:
        """The published signing keys; an empty list for a project that still signs with HS256."""
        answer = self._get("/.well-known/jwks.json", None)
        keys = answer.get("keys") if isinstance(answer, dict) else None
        if not isinstance(keys, list):
            raise Unavailable("auth_server_answer", "the auth server's key set is not one")
        return [key for key in keys if isinstance(key, dict)]

    def _get(self, path: str, token: str | None) -> Any:
        if time.monotonic() < self._rest_until:
            raise Unavailable("auth_server_unreachable", "the auth server does not answer")
        try:
            return self._ask(path, token)
        except Unavailable as err:
            if err.reason == "auth_server_unreachable":
                self._rest_until = time.monotonic() + _REST_SECONDS
            raise

    def _ask(self, path: str, token: str | None) -> Any:
        headers = {"apikey": self._settings.service_key, "Accept": "application/json"}
        if path == "/user":
            # Without it the server accepts tokens made for another audience.
            headers["X-JWT-AUD"] = self._settings.audience
        try:
            with requests.get(
                self._settings.base + path,
                headers=headers,
                auth=_Bearer(token) if token is not None else _NoAuth(),
                timeout=self._settings.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                body = response.raw.read(_MAX_ANSWER + 1, decode_content=True)
        except (requests.RequestException, OSError) as err:
            raise Unavailable("auth_server_unreachable", "the auth server does not answer") from err
        except Exception as err:  # urllib3's own errors while reading the body
            raise Unavailable("auth_server_unreachable", "the auth server broke off its answer") from err
        if len(body) > _MAX_ANSWER:
            raise Unavailable("auth_server_answer", "the auth server's answer is too long")
        answer = _decode(body)
        if status == 200:
            return answer
        if status in (400, 401, 403) and token is not None:
            word = answer.get("error_code") if isinstance(answer, dict) else None
            raise Unauthenticated(word if isinstance(word, str) else "refused", "the auth server refuses this token")
        raise Unavailable("auth_server_answer", f"the auth server answered {status} to GET {path.partition('?')[0]}")


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
