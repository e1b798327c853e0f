"""Which admin app is meant, and a session of requests that reaches it, over TCP or over its Unix socket."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from karst.errors import UsageError

if TYPE_CHECKING:
    import requests

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Target:
    """One admin app: ``url`` without a trailing slash, or the path of its ``socket``."""

    url: str = ""
    socket: str = ""

    @property
    def name(self) -> str:
        """What people call it, and what its stored token goes by."""
        return self.url or f"unix:{self.socket}"

    @property
    def option(self) -> str:
        """How the command line names it."""
        return f"--url {self.url}" if self.url else f"--socket {self.socket}"

    @property
    def base(self) -> str:
        return self.url or "http+docker://localhost"

    def connect(self) -> requests.Session:
        """A session that follows no redirect, and asks no proxy for this machine."""
        import requests

        session = requests.Session()
        session.max_redirects = 0
        if self.socket:
            # The Docker client's own adapter: requests has none for Unix sockets.
            from docker.transport import UnixHTTPAdapter

            session.mount("http+docker://", UnixHTTPAdapter(f"http+unix://{self.socket}", timeout=60))
        session.trust_env = bool(self.url) and not is_loopback(self.url)
        return session


def choose(url: str | None, socket: str | None) -> Target | None:
    """The admin app that the options name; None for none. UsageError for both, or a URL that no token may go to."""
    if url and socket:
        raise UsageError("--url and --socket name two admin apps", hint="leave one out", code="usage")
    if socket:
        return Target(socket=str(Path(socket).expanduser().absolute()))
    return Target(url=check_url(url, "--url")) if url else None


def check_url(url: str, what: str) -> str:
    """``url`` without trailing slashes; UsageError when it is none, or would carry a secret in the clear."""
    parts = urlsplit(url.rstrip("/"))
    try:
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok = False
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or not port_ok:
        raise UsageError(
            f"{what}: `{url[:80]}` is not the URL of an admin app", hint=f"for example {DEFAULT_URL}", code="bad_url"
        )
    if parts.scheme == "http" and not is_loopback(url):
        raise UsageError(
            f"{what}: {parts.hostname} is another machine, and http:// would show it and everybody between the token",
            hint="use https://, or `ssh -L 8080:127.0.0.1:8080` and http://127.0.0.1:8080",
            code="insecure_url",
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
