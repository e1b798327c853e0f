"""What an archive of a repository leaves out: its submodules."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from karst.errors import KarstError
from karst.fetch import gitcli
from karst.fetch.hosts import Remote

MAX_SUBMODULES = 50


@dataclass(frozen=True)
class Submodule:
    """One gitlink of a commit.

    Attributes:
        path: where it goes.
        url: where it is from, absolute, or "" when .gitmodules does not say.
        sha: the commit.
    """

    path: str
    url: str
    sha: str


def has_submodules(root: Path) -> bool:
    """True when the tree has a .gitmodules that names at least one."""
    path = root / ".gitmodules"
    try:
        return path.is_file() and not path.is_symlink() and b"[submodule" in path.read_bytes()[: 1 << 20]
    except OSError:
        return False


def submodules(repo: Path, sha: str, parent_url: str, remote: Remote) -> list[Submodule]:
    """The gitlinks of a commit in a bare repository, with the URLs that .gitmodules gives them."""
    links: dict[str, str] = {}
    for entry in gitcli.output(repo, "ls-tree", "-r", "-z", sha).split(b"\0"):
        info, _, raw = entry.partition(b"\t")
        if info.startswith(b"160000 commit "):
            links[os.fsdecode(raw)] = info.split()[2].decode()
    if not links:
        return []
    if len(links) > MAX_SUBMODULES:
        raise KarstError(f"it has {len(links)} submodules, more than {MAX_SUBMODULES}", code="too_large")
    urls = _urls(repo, sha)
    return [
        Submodule(path, absolute_url(urls.get(path, ""), parent_url, remote), commit)
        for path, commit in sorted(links.items())
    ]


def _urls(repo: Path, sha: str) -> dict[str, str]:
    try:
        listed = gitcli.output(repo, "config", "-z", "--blob", f"{sha}:.gitmodules", "--list").decode(errors="replace")
    except gitcli.GitFailed:
        return {}
    values: dict[str, dict[str, str]] = {}
    for line in listed.split("\0"):
        key, _, value = line.partition("\n")
        match = re.fullmatch(r"submodule\.(.+)\.(path|url)", key, re.DOTALL)
        if match:
            values.setdefault(match[1], {})[match[2]] = value
    return {entry["path"]: entry.get("url", "") for entry in values.values() if "path" in entry}


def absolute_url(url: str, parent: str, remote: Remote) -> str:
    """An http(s) URL for a submodule's ``url``: relative ones by gitmodules(5), ssh ones of the same host as https."""
    if url.startswith(("./", "../")):
        split = urlsplit(parent)
        return f"{split.scheme}://{split.netloc}{posixpath.normpath(posixpath.join(split.path, url))}"
    host = urlsplit(remote.base).hostname or ""
    ssh = re.fullmatch(r"(?:ssh://)?(?:[\w.-]+@)?([\w.-]+)(?::(?!\d+/)|:\d+/|/)(?!/)(.+)", url, re.ASCII)
    if ssh and "://" not in url.removeprefix("ssh://") and ssh[1] == host:
        return f"{remote.base}/{ssh[2]}"
    return url


def links(root: Path) -> Iterator[str]:
    """Relative paths of all links below ``root``."""
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            if path.is_symlink():
                yield path.relative_to(root).as_posix()
