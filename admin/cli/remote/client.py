"""Requests to an admin app: the stored token, problem documents as sentences with exit codes, streams of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests
from requests.auth import AuthBase

from admin.cli.remote import sessions
from admin.cli.remote.target import Target
from karst.errors import Exit, KarstError
from karst.terminal import neutral

# The server sends a heartbeat every 15 s: a stream that is silent for longer is broken.
CONNECT, SILENCE = 10.0, 45.0
_EXIT = {400: Exit.USAGE, 401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.USAGE, 413: Exit.USAGE, 422: Exit.USAGE}


class Cut(KarstError):
    """The connection broke, or none came about."""


class Bearer(AuthBase):
    """Through requests' own hook: a plain header would be replaced by an entry of ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Client:
    """One admin app, as the signed-in user; ``token`` in place of the stored one."""

    def __init__(self, target: Target, token: str | None = None) -> None:
        self.target = target
        self._token = token
        self._session = target.connect()

    def get(self, path: str, **query: Any) -> Any:
        with self._ask("GET", path, query=query) as response:
            return _json(response)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        with self._ask("POST", path, body=body, headers=headers) as response:
            return _json(response)

    def lines(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """JSON lines as they come; Cut when the connection breaks, an ordinary end when the server ends the stream."""
        with self._ask("GET", path, query=query, stream=True) as response:
            try:
                for line in response.iter_lines(chunk_size=None):
                    if line:
                        yield json.loads(line)
            except (requests.RequestException, OSError, ValueError) as err:
                raise Cut(f"the connection to {self.target.name} broke", code="cut") from err

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        token = sessions.token_for(self.target.name) if self._token is None else self._token
        try:
            response = self._session.request(
                method,
                self.target.base + path,
                params=query or None,
                data=None if body is None else json.dumps(body),
                headers={**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})},
                auth=Bearer(token),
                timeout=(CONNECT, SILENCE),
                stream=stream,
                allow_redirects=False,
            )
        except (requests.RequestException, OSError) as err:
            raise Cut(
                f"no admin app answers at {self.target.name}",
                hint="`make admin` starts one; --url, --socket, KARST_URL and KARST_SOCKET say where it is",
                code="unreachable",
            ) from err
        if response.status_code >= 300:
            with response:
                raise self._refused(response, bool(token))
        return response

    def _refused(self, response: requests.Response, signed_in: bool) -> KarstError:
        """The server's problem document as an error; what is none is not an admin app's."""
        try:
            problem = response.json()
            code, detail = str(problem["code"]), neutral(str(problem["detail"]))
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return KarstError(
                f"{self.target.name} answered {response.status_code}, and not as an admin app does", code="no_admin_app"
            )
        hint = neutral(str(problem.get("hint") or ""))
        others = [neutral(str(each.get("detail"))) for each in problem.get("errors") or () if isinstance(each, dict)]
        detail = "\n".join(dict.fromkeys([detail, *others]))
        status = response.status_code
        if status == 401:
            again = "sign in again" if signed_in else "sign in"
            hint = f"{again}: `iac {self.target.option} login`"
        if status == 409 and code == "busy":
            return KarstError(detail, hint=_holder(problem), code=code, exit_code=Exit.BUSY)
        return KarstError(detail, hint=hint, code=code, exit_code=_EXIT.get(status, Exit.FAILED))


def _holder(problem: dict[str, Any]) -> str:
    run = (problem.get("holder") or {}).get("id", "")
    return f"wait for it (--lock-wait SECONDS), or stop it: `iac cancel {run}`"


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except (requests.RequestException, ValueError) as err:
        raise Cut("the admin app broke off its answer", code="cut") from err
