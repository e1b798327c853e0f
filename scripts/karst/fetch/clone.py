"""The fallback: a shallow fetch of one commit with git, and of its submodules, unpacked like a tarball."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from karst.errors import KarstError
from karst.fetch import archive, gitcli, parts, refs, web
from karst.fetch.hosts import Remote
from karst.fetch.limits import Budget
from karst.slug import shown

_MAX_DEPTH = 4
_DISCOVERY = "/info/refs?service=git-upload-pack"
_PASS_ON = {"timeout", "cancelled"}


@dataclass(frozen=True)
class Place:
    """Where git shall fetch from.

    Attributes:
        url: after all redirects, which git itself does not follow (it would take the header along).
        auth: the header for it, or "".
    """

    url: str
    auth: str


def find(remote: Remote, budget: Budget, url: str = "") -> Place:
    """The place of the remote (or of ``url``, a submodule's); KarstError when no git answers there.

    The token goes along only below the base URL, and an unwanted one is left away.
    """
    start = url or remote.git_url
    token = remote.git_auth() if start.startswith(f"{remote.base}/") else ""
    status = 0
    for auth in dict.fromkeys((token, "")):
        with web.get(start + _DISCOVERY, auth, budget) as response:
            if response.status_code == 200 and response.url.endswith(_DISCOVERY):
                final = response.url.removesuffix(_DISCOVERY)
                return Place(final, auth if web.origin(final) == web.origin(start) else "")
            status = status or response.status_code
    if url:
        raise KarstError(f"HTTP {status}", code="repo_not_found")
    raise refs.refused(remote, status)


def into(
    target: Path, remote: Remote, place: Place, ref: str, sha: str, work: Path, budget: Budget, missing: list[str]
) -> int:
    """Unpack commit ``sha`` with its submodules into ``target`` and return its time; KarstError when it cannot be had.

    A submodule that cannot be had leaves its folder empty and one sentence in ``missing``.
    """
    return _into(target, remote, place, (sha, ref), work, budget, missing, "", 0)


def _into(
    target: Path,
    remote: Remote,
    place: Place,
    wanted: tuple[str, str],
    work: Path,
    budget: Budget,
    missing: list[str],
    prefix: str,
    depth: int,
) -> int:
    sha = wanted[0]
    with gitcli.repository(work, sha256=len(sha) == 64) as repo:
        seconds = _fetch(repo, remote, place, wanted, budget)
        with gitcli.archive(repo, sha, budget) as stream:
            archive.unpack(stream, target, budget)
        modules = parts.submodules(repo, sha, place.url, remote)
    for module in modules:
        name = f"{prefix}{module.path}"
        try:
            _submodule(target, remote, module, work, budget, missing, f"{name}/", depth + 1)
        except OSError:
            raise
        except KarstError as err:
            if err.code in _PASS_ON:
                raise
            where = remote.redact(module.url) or "no address"
            missing.append(f"the submodule {shown(name)} from {where} ({err.message})")
    return seconds


def _submodule(
    target: Path,
    remote: Remote,
    module: parts.Submodule,
    work: Path,
    budget: Budget,
    missing: list[str],
    prefix: str,
    depth: int,
) -> None:
    split = urlsplit(module.url)
    if split.scheme not in ("https", "http") or split.username is not None or not split.hostname:
        raise KarstError("only http and https addresses are fetched", code="bad_submodule")
    if split.scheme == "http" and remote.base.startswith("https:"):
        raise KarstError("it is not https", code="bad_submodule")
    if depth > _MAX_DEPTH:
        raise KarstError(f"more than {_MAX_DEPTH} levels of submodules", code="bad_submodule")
    folder = target / module.path
    if folder.is_symlink() or not folder.resolve().is_relative_to(target.resolve()) or any(folder.iterdir()):
        raise KarstError("its folder is taken", code="bad_submodule")
    place = find(remote, budget, module.url.rstrip("/"))
    _into(folder, remote, place, (module.sha, ""), work, budget, missing, prefix, depth)


def _fetch(repo: Path, remote: Remote, place: Place, wanted: tuple[str, str], budget: Budget) -> int:
    """Fetch the commit: by its id, else (a server that allows no ids) by its ref, at last with the ref's history."""
    sha, ref = wanted
    first: KarstError | None = None
    attempts = [(sha, True), (ref, True), (ref, False)] if ref.startswith("refs/") else [(sha, True)]
    for name, shallow in attempts:
        try:
            gitcli.fetch(repo, remote, place.url, place.auth, name, budget, shallow=shallow)
            return gitcli.commit_time(repo, sha)
        except gitcli.GitFailed as err:
            first = first or err
    assert first is not None  # noqa: S101  # there is at least one attempt
    absent = any(word in first.message for word in ("not our ref", "is not a commit", "unadvertised object"))
    raise KarstError(first.message, code="no_commit" if absent else "clone_refused") from None
