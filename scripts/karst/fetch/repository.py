"""One slug from its host to a folder in the cache: resolve, look into the cache, tarball, else clone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from karst.errors import KarstError
from karst.fetch import archive, clone, hosts, lfs, parts, refs, store, web
from karst.fetch.hosts import Remote
from karst.fetch.limits import MIB, Budget
from karst.fetch.store import Checkout
from karst.lockfile import Locked
from karst.slug import Slug, is_full_sha

_FINAL = {"disk_full", "not_writable", "timeout", "cancelled", "unsafe_archive", "too_large"}
"""Failures of a tarball that a clone would not mend."""


@dataclass(frozen=True)
class Found:
    """A repository at one commit.

    Attributes:
        ref: full name of the ref, or the commit itself.
        revision: commit id.
        checkout: its files.
        url: its web page.
    """

    ref: str
    revision: str
    checkout: Checkout
    url: str


class Refused(KarstError):
    """This way of getting the commit does not work here; another may."""


def obtain(slug: Slug, locked: Locked | None, budget: Budget) -> Found:
    """The files of ``slug`` at ``locked``, or at what its ref means now; without network when both are known.

    Raises KarstError, one sentence that begins with the slug.
    """
    try:
        return _obtain(slug, locked, budget)
    except KarstError as err:
        if not err.message.startswith(f"{slug.kind}:{slug.path}"):
            err.message = f"{slug}: {err.message}"
        raise


def _obtain(slug: Slug, locked: Locked | None, budget: Budget) -> Found:
    remote = hosts.remote(slug)
    ref, revision = (locked.ref, locked.revision) if locked else refs.resolve(remote, budget)
    wanted = locked.tree if locked else None
    checkout = store.find(remote.key, revision, wanted)
    if checkout is None:
        with store.exclusive(remote.key, revision):
            checkout = store.find(remote.key, revision, wanted) or _download(remote, ref, revision, wanted, budget)
    if wanted is not None and checkout.tree != wanted and not (locked and locked.partial):
        if checkout.partial:
            raise KarstError(
                f"the lock file was made with what cannot be had now: {'; '.join(checkout.missing)}",
                hint="try again later, or `iac update` to go on without it",
                code="incomplete",
            )
        raise KarstError(
            f"commit {revision[:12]} does not hold what the lock file recorded for it",
            hint="find out why before you accept it with `iac update`",
            code="tree_changed",
        )
    return Found(ref, revision, checkout, remote.web_url)


def _download(remote: Remote, ref: str, revision: str, wanted: str | None, budget: Budget) -> Checkout:
    """Tarball, else clone; the clone also when the tarball lacks submodules or is not what the lock says."""
    with store.workplace() as work:
        why = ""
        checkout = None
        try:
            checkout = _with_lfs(remote, _tarball(remote, revision, work, budget), work, budget)
        except KarstError as err:
            if err.code in _FINAL or isinstance(err, web.Unreachable):
                raise
            why = err.message
        incomplete = checkout is not None and parts.has_submodules(checkout.root)
        if checkout is None or incomplete or (wanted is not None and checkout.tree != wanted):
            try:
                checkout = _with_lfs(remote, _clone(remote, ref, revision, work, budget), work, budget)
            except KarstError as err:
                if checkout is None:
                    raise _both(remote, revision, why, err) from None
                if incomplete:
                    missing = (*checkout.missing, f"its submodules ({err.message})")
                    checkout = replace(checkout, missing=missing, partial=True)
        return store.add(remote.key, revision, checkout.root, checkout)


def _with_lfs(remote: Remote, checkout: Checkout, work: Path, budget: Budget) -> Checkout:
    """The checkout with the contents that Git LFS holds elsewhere, or with a sentence on what is missing."""
    pointers = lfs.pointers(checkout.root)
    if not pointers:
        return checkout
    missing, partial = checkout.missing, checkout.partial
    try:
        lfs.fill(checkout.root, pointers, clone.find(remote, budget), work, budget)
    except KarstError as err:
        if err.code in _FINAL - {"too_large"}:
            raise
        left = lfs.pointers(checkout.root)
        missing, partial = (*missing, lfs.sentence(left, err.message)), partial or err.code != "too_large"
    filled = store.measured(checkout.root)
    return replace(filled, commit_time=checkout.commit_time, via=checkout.via, missing=missing, partial=partial)


def _both(remote: Remote, revision: str, tarball: str, cloning: KarstError) -> KarstError:
    """The sentence for a commit that came neither as a tarball nor by a clone."""
    if cloning.code in _FINAL or cloning.code in ("network", "tls", "repo_not_found"):
        return cloning
    if cloning.code == "no_commit":
        return KarstError(
            f"there is no commit {revision[:12]} at {remote.web_url}",
            hint="it may have been removed by a force-push: name another ref, or run `iac update`",
            code="ref_not_found",
        )
    return KarstError(
        f"neither the tarball ({tarball}) nor the clone ({cloning.message}) of {revision[:12]} could be had",
        hint=cloning.hint or f"try again later, or check that {remote.base} is the right host",
        code="both_refused",
    )


def _tarball(remote: Remote, revision: str, work: Path, budget: Budget) -> Checkout:
    """Download and unpack the host's archive; KarstError when it is refused, broken, or of another commit."""
    packed = work / "archive"
    status = 0
    for auth in dict.fromkeys((remote.web_auth(), "")):
        with web.get(remote.tarball_url(revision), auth, budget) as response:
            status = response.status_code
            if status != 200:
                continue
            with packed.open("wb") as handle:
                for chunk in response.iter_content(1 << 18):
                    budget.left()
                    handle.write(chunk)
                    if handle.tell() > budget.limits.download:
                        what = f"more than {budget.limits.download // MIB} MiB to download"
                        raise archive.too_large(what, "KARST_FETCH_MAX_MB")
            break
    else:
        raise Refused(f"HTTP {status}", code="tarball_refused")
    target = work / "tarball"
    target.mkdir()
    with packed.open("rb") as handle:
        unpacked = archive.unpack(handle, target, budget, compressed=packed.stat().st_size)
    packed.unlink()
    if is_full_sha(unpacked.comment) and unpacked.comment != revision:
        raise Refused(f"it is of another commit, {unpacked.comment[:12]}", code="tarball_refused")
    return replace(store.measured(target), commit_time=unpacked.mtime, via="tarball")


def _clone(remote: Remote, ref: str, revision: str, work: Path, budget: Budget) -> Checkout:
    """A shallow fetch of the commit and of its submodules, unpacked like a tarball."""
    target = work / "clone"
    target.mkdir()
    place = clone.find(remote, budget)
    missing: list[str] = []
    seconds = clone.into(target, remote, place, ref, revision, work, budget, missing)
    archive.check_links(target, parts.links(target))
    return replace(
        store.measured(target), commit_time=seconds, via="clone", missing=tuple(missing), partial=bool(missing)
    )
