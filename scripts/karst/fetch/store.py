"""The cache of checkouts: one immutable folder for each commit, shared by every stack of the user.

``<cache>/src/<host>/<repository>.git/<commit>/<first 12 of the tree hash>/`` beside a ``.json`` of the same name. A
folder appears by a rename when it is whole. Two folders of one commit exist when it was fetched once without and once
with its submodules.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from karst.files import cache_dir, disk_errors, locked, tree_hash, write_atomic

_LEFTOVER_SECONDS = 24 * 3600
_ROOT = re.compile(r"[0-9a-f]{12}", re.ASCII)
SNAPSHOT_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Checkout:
    """A commit's files on disk.

    Attributes:
        root: the folder.
        tree: hash of all of it.
        files: number of files and links.
        size: bytes of them.
        commit_time: seconds since 1970, or 0 when unknown.
        via: ``tarball``, ``clone`` or ``folder``.
        missing: what the repository has besides and this checkout lacks, one sentence each.
        partial: True when a submodule could not be had, which may work another time.
    """

    root: Path
    tree: str
    files: int
    size: int
    commit_time: int = 0
    via: str = "tarball"
    missing: tuple[str, ...] = ()
    partial: bool = False

    @property
    def meta(self) -> Path:
        return self.root.with_name(f"{self.root.name}.json")


@contextlib.contextmanager
def exclusive(key: str, revision: str) -> Iterator[None]:
    """Only one process and thread at a time fetches one commit; the others wait and then find it."""
    token = hashlib.sha256(f"{key}/{revision}".encode()).hexdigest()[:24]
    path = cache_dir() / "locks" / f"src-{token}"
    with disk_errors(path), locked(path):
        yield


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A private folder on the cache's own disk, gone afterwards; what killed processes left behind goes first."""
    parent = cache_dir() / "src" / ".tmp"
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        with disk_errors(cache_dir()):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for old in parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(old, ignore_errors=True)


def find(key: str, revision: str, tree: str | None) -> Checkout | None:
    """The cached checkout of a commit: the one with that tree, or without a wanted tree a whole one."""
    home = cache_dir() / "src" / key / revision
    found = [entry for path in sorted(home.glob("*.json")) if (entry := _load(path)) is not None]
    wanted = [entry for entry in found if (not entry.partial if tree is None else entry.tree == tree)]
    entry = min(wanted, key=lambda entry: entry.tree, default=None)
    if entry is not None:
        with contextlib.suppress(OSError):
            os.utime(entry.meta)  # when it was last used, for prune
    return entry


def add(key: str, revision: str, folder: Path, checkout: Checkout) -> Checkout:
    """Move ``folder`` (on the cache's disk) into the cache; an equal one that is there already stays."""
    root = cache_dir() / "src" / key / revision / checkout.tree[:12]
    entry = replace(checkout, root=root)
    with exclusive(key, f"{revision}/{root.name}"), disk_errors(root):
        existing = _load(entry.meta)
        if existing is not None and existing.tree == checkout.tree:
            return existing
        root.parent.mkdir(parents=True, exist_ok=True)
        if root.exists():  # damaged: somebody cleaned up half of it
            shutil.rmtree(root)
        os.rename(folder, root)
        data = {**asdict(entry), "missing": list(entry.missing)}
        del data["root"]
        write_atomic(entry.meta, json.dumps(data, sort_keys=True) + "\n")
    return entry


def prune(older: float, below: str = "") -> int:
    """Remove checkouts (below ``src/<below>``) not used for ``older`` seconds; return the bytes of their files."""
    freed = 0
    for root in unused(time.time() - older, below):
        with contextlib.suppress(OSError):
            size = _count(root)[1]
            remove(root)
            freed += size
    return freed


def unused(before: float, below: str = "") -> list[Path]:
    """The folders of the checkouts (below ``src/<below>``) that were last used before that time."""
    home = cache_dir() / "src"
    found, pending = [], [home / below]
    while pending:
        with contextlib.suppress(OSError):
            here = {entry.name: entry for entry in os.scandir(pending.pop()) if entry.path != str(home / ".tmp")}
            for name, entry in here.items():
                if not entry.is_dir(follow_symlinks=False):
                    continue
                meta = here.get(f"{name}.json") if _ROOT.fullmatch(name) else None
                if meta is None:
                    pending.append(Path(entry.path))
                elif meta.stat().st_mtime < before:
                    found.append(Path(entry.path))
    return sorted(found)


def remove(root: Path) -> None:
    """Remove a checkout and what is remembered of it."""
    root.with_name(f"{root.name}.json").unlink()  # first: without it the folder is no checkout
    shutil.rmtree(root, ignore_errors=True)
    root.with_name(f"{root.name}.paths").unlink(missing_ok=True)


def measured(folder: Path) -> Checkout:
    """A Checkout of ``folder`` with its tree hash, number of files and size."""
    files, size = _count(folder)
    return Checkout(folder, tree_hash(folder), files, size)


def subtree(checkout: Checkout, path: str) -> str:
    """The tree hash of a subfolder, remembered beside the checkout, which never changes."""
    memo = checkout.root.with_name(f"{checkout.root.name}.paths")
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        loaded = json.loads(memo.read_text())
        known = loaded if isinstance(loaded, dict) else {}
    if path not in known:
        known[path] = tree_hash(checkout.root / path)
        write_atomic(memo, json.dumps(known, sort_keys=True) + "\n")
    return known[path]


def _load(meta: Path) -> Checkout | None:
    """The checkout that ``meta`` describes; None when it is damaged, as after a cleaner of old files came by."""
    try:
        data = json.loads(meta.read_text())
        entry = Checkout(root=meta.with_suffix(""), **{**data, "missing": tuple(data["missing"])})
        if (entry.files, entry.size) != _count(entry.root):
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return entry


def _count(folder: Path) -> tuple[int, int]:
    """Number and size of files and links: cheap enough for every call, and enough to notice that some are gone."""
    files = size = 0
    pending = [os.fspath(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_size
    return files, size
