"""HTTP requests to a git host: redirects followed by hand so that a token never reaches another host."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from karst.errors import KarstError
from karst.fetch.limits import Budget

if TYPE_CHECKING:
    import requests

_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 30
_TRIES = 3
_PAUSE_SECONDS = 0.3
_MAX_JSON = 4 << 20
_PASSING = {429, 500, 502, 503, 504}
USER_AGENT = "git/2.40 (karstkit)"  # some hosts answer info/refs only to a name that begins with git/


class Unreachable(KarstError):
    """The host could not be talked to at all."""


def ca_bundle() -> str:
    """The CA bundle to trust besides the packaged one, or "": requests' own variables, else the one builds use."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        value = os.environ.get(name, "")
        if value and os.path.exists(value):
            return value
    from karst.toolchain.base_image import build_ca_file

    return build_ca_file()


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what has to stay the same for a token to be sent along."""
    split = urlsplit(url)
    return split.scheme, split.hostname or "", split.port or (443 if split.scheme == "https" else 80)


@contextmanager
def get(
    url: str, auth: str, budget: Budget, *, accept: str = "*/*", headers: Mapping[str, str] | None = None
) -> Iterator[requests.Response]:
    """A streamed GET, whatever its status; Unreachable (``network``, ``tls``) when no answer came.

    ``auth`` and ``headers`` go to the first URL's origin only. A redirect from https to http is not followed.
    """
    with _answer(_Call("GET", accept, headers or {}), url, auth, budget) as response:
        yield response


def post_json(url: str, auth: str, body: object, media: str, budget: Budget) -> Any:
    """POST JSON and decode the JSON answer; KarstError (``http``) for a status other than 200 or no JSON."""
    call = _Call("POST", media, {"Content-Type": media}, json.dumps(body).encode())
    with _answer(call, url, auth, budget) as response:
        if response.status_code != 200:
            raise KarstError(f"HTTP {response.status_code}", code="http")
        raw = bytearray()
        for chunk in response.iter_content(1 << 16):
            raw += chunk
            if len(raw) > _MAX_JSON:
                raise KarstError("the answer is longer than 4 MiB", code="http")
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise KarstError("the answer is not JSON", code="http") from None


@dataclass(frozen=True)
class _Call:
    """A request without its address.

    Attributes:
        private: headers that go to the first origin only, like the token.
    """

    method: str
    accept: str
    private: Mapping[str, str]
    body: bytes | None = None


@contextmanager
def _answer(call: _Call, url: str, auth: str, budget: Budget) -> Iterator[requests.Response]:
    import requests

    with requests.Session() as session:
        response = _follow(session, call, url, auth, budget)
        try:
            yield response
        except requests.RequestException as err:
            raise unreachable(url, err) from None
        finally:
            response.close()


def _follow(session: requests.Session, call: _Call, url: str, auth: str, budget: Budget) -> requests.Response:
    home = origin(url)
    for _ in range(6):
        private = dict(call.private) if origin(url) == home else {}
        if auth and origin(url) == home:
            private["Authorization"] = auth
        response = _patiently(session, call, url, private, budget)
        target = response.headers.get("Location")
        if response.status_code not in (301, 302, 303, 307, 308) or not target:
            return response
        response.close()
        following = urljoin(url, target)
        if not following.startswith(("https://", "http://")) or (
            url.startswith("https://") and following.startswith("http://")
        ):
            raise Unreachable(f"{_host(url)} sends on to an address that is not https", code="network")
        url = following
    raise Unreachable(f"{_host(url)} sends on in circles", code="network")


def _patiently(
    session: requests.Session, call: _Call, url: str, private: Mapping[str, str], budget: Budget
) -> requests.Response:
    """One request, tried again after passing faults."""
    import requests

    headers = {"User-Agent": USER_AGENT, "Accept": call.accept, "Accept-Encoding": "identity"}
    for attempt in range(1, _TRIES + 1):
        timeout = (min(_CONNECT_SECONDS, budget.left()), min(_SILENCE_SECONDS, budget.left()))
        try:
            # auth= and not headers=: with neither, requests would look into ~/.netrc and send what it finds there.
            response = session.request(
                call.method,
                url,
                headers=headers,
                data=call.body,
                auth=_Headers(private),
                verify=ca_bundle() or True,
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as err:
            budget.left()  # out of time is a sentence of its own
            if attempt == _TRIES or not isinstance(err, requests.ConnectionError) or _is_final(err):
                raise unreachable(url, err) from None
        else:
            if attempt == _TRIES or response.status_code not in _PASSING:
                return response
            response.close()
        time.sleep(min(_PAUSE_SECONDS * attempt, budget.left()))
    raise AssertionError("unreachable")


class _Headers:
    """A requests ``auth`` object that sets headers, or none."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._values)
        return request


def _is_final(err: Exception) -> bool:
    """True for what a second try cannot mend."""
    import requests

    return isinstance(err, requests.exceptions.SSLError | requests.exceptions.ProxyError) or _unresolved(err)


def _unresolved(err: Exception) -> bool:
    return "NameResolutionError" in repr(err) or "getaddrinfo" in repr(err) or "Name or service not known" in repr(err)


def unreachable(url: str, err: Exception) -> Unreachable:
    """One sentence for the many ways in which a connection fails."""
    import requests

    host = _host(url)
    hint = "check the network, and HTTPS_PROXY if there is a proxy"
    if isinstance(err, requests.exceptions.SSLError):
        return Unreachable(
            f"the certificate of {host} is not trusted",
            hint="behind a proxy with its own CA, point REQUESTS_CA_BUNDLE at that CA's file",
            code="tls",
        )
    if isinstance(err, requests.exceptions.ProxyError):
        return Unreachable(
            f"the proxy for {host} does not answer", hint="check HTTPS_PROXY and NO_PROXY", code="network"
        )
    if isinstance(err, requests.Timeout) or "timed out" in str(err):
        return Unreachable(f"{host} does not answer in time", hint=hint, code="network")
    if _unresolved(err):
        return Unreachable(f"{host} cannot be found (no such name in DNS)", hint=hint, code="network")
    if isinstance(err, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return Unreachable(f"{host} broke the transfer off", hint="try again", code="network")
    return Unreachable(f"{host} cannot be reached", hint=hint, code="network")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rsplit("@", 1)[-1]
