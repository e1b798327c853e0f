"""Where a slug's repository is: the base URL, the URL shapes of each kind of host, and the token that opens it.

A token leaves this process in two ways only: as a request header, and as git configuration in the environment of a git
child process (readable by the same user and root alone). It is in no argument, URL, file, message or result.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from karst.errors import UsageError
from karst.slug import HOSTS, Slug

TOKEN_NAMES = {"gh": "GITHUB_TOKEN", "gl": "GITLAB_TOKEN", "bb": "BITBUCKET_TOKEN"}
# The user names that the three document for a token used as a git password.
_TOKEN_USERS = {"gh": "x-access-token", "gl": "oauth2", "bb": "x-token-auth"}


@dataclass(frozen=True)
class Remote:
    """One repository on one host.

    Attributes:
        slug: what names it (its ref plays no part here).
        base: the host's base URL, without a slash at the end.
        token: the token for that host, or "".
    """

    slug: Slug
    base: str
    token: str = field(default="", repr=False)

    @property
    def token_name(self) -> str:
        """The environment variable the token comes from."""
        return TOKEN_NAMES[self.slug.kind]

    @property
    def git_url(self) -> str:
        """Git's smart HTTP."""
        return f"{self.base}/{self.slug.path}.git"

    @property
    def web_url(self) -> str:
        """The page a person opens."""
        return f"{self.base}/{self.slug.path}"

    @property
    def key(self) -> str:
        """The folder of this repository in the cache: host, base path and repository, in file-name characters."""
        split = urlsplit(self.base)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", f"{split.netloc}{split.path}")
        return f"{host}/{self.slug.path}.git"

    def tarball_url(self, sha: str) -> str:
        """The archive of one commit, at the place each kind of host has it.

        A private repository on github.com has it at the API: the web route takes a browser's cookie, not a token.
        """
        path, repo = self.slug.path, self.slug.repo
        if self.slug.kind == "gh":
            if self.token and self.base == "https://github.com":
                return f"https://api.github.com/repos/{path}/tarball/{sha}"
            return f"{self.base}/{path}/archive/{sha}.tar.gz"
        if self.slug.kind == "gl":
            return f"{self.base}/{path}/-/archive/{sha}/{repo}-{sha}.tar.gz"
        return f"{self.base}/{path}/get/{sha}.tar.gz"

    def git_auth(self) -> str:
        """The Authorization header for git's smart HTTP, or ""."""
        if not self.token:
            return ""
        pair = self.token if ":" in self.token else f"{_TOKEN_USERS[self.slug.kind]}:{self.token}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def web_auth(self) -> str:
        """The Authorization header for archives, or ""; ``user:password`` tokens (Bitbucket) go as Basic."""
        if not self.token:
            return ""
        return self.git_auth() if ":" in self.token else f"Bearer {self.token}"

    def redact(self, text: str) -> str:
        """``text`` (a server's or git's own words) without the token in any of its spellings, and in one line."""
        for secret in (self.token, self.git_auth().removeprefix("Basic "), *self.token.split(":")[1:]):
            if secret:
                text = text.replace(secret, "…")
        text = re.sub(r"//[^/@\s]*@", "//…@", text)
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]


def remote(slug: Slug) -> Remote:
    """The remote of a slug that is not ``dir:``, from the environment; UsageError (``bad_base_url``, ``bad_token``)."""
    name = f"KARST_{slug.kind.upper()}_URL"
    base = os.environ.get(name, "").strip() or f"https://{HOSTS[slug.kind]}"
    return Remote(slug, _check_base(base, name), _token(slug.kind, base, name))


def _check_base(base: str, name: str) -> str:
    try:
        split = urlsplit(base)
        valid = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        split, valid = urlsplit(""), False
    if split.username is not None or split.password is not None:
        kind = name.split("_")[1].lower()
        raise UsageError(
            f"{name} holds a user or password", hint=f"put the token into {TOKEN_NAMES[kind]}", code="bad_base_url"
        )
    if not valid or split.query or split.fragment or not re.fullmatch(r"[\w.:/\[\]~-]+", base, re.ASCII):
        raise UsageError(
            f"{name} is no base URL", hint="write https://host or https://host/prefix", code="bad_base_url"
        )
    return base.rstrip("/")


def _token(kind: str, base: str, name: str) -> str:
    token = os.environ.get(TOKEN_NAMES[kind], "").strip()
    if not token:
        return ""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{TOKEN_NAMES[kind]} holds a character that no token has", code="bad_token")
    if base.startswith("http://") and not _is_this_machine(urlsplit(base).hostname or ""):
        raise UsageError(
            f"{TOKEN_NAMES[kind]} is set and {name} is http://, which would send it in clear",
            hint=f"use https:// in {name}, or unset {TOKEN_NAMES[kind]}",
            code="token_in_clear",
        )
    return token


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
