"""``dir:`` slugs: a copy of a local folder in the cache, keyed by its content, so that a build sees one state of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from karst.errors import KarstError
from karst.fetch import archive, store
from karst.fetch.limits import MIB, Budget
from karst.fetch.store import Checkout
from karst.files import hash_files
from karst.slug import Slug

SKIPPED = frozenset(
    {
        *(".git", ".hg", ".svn", ".venv", "venv", "env", "node_modules", "__pycache__", ".tox", ".nox", ".eggs"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".terraform", ".idea", ".vscode", ".DS_Store"),
        *(".env", ".coverage", "htmlcov"),
    }
)
"""What a folder without git leaves out: version control, environments, caches, and `.env`, which holds secrets."""

_ENVIRONMENTS = {"venv", "env"}  # ordinary names: left out only when there is a pyvenv.cfg in them


def obtain(slug: Slug, base_dir: Path, budget: Budget) -> Checkout:
    """The snapshot of the slug's folder; KarstError (``no_folder``, ``unsafe_archive`` …) when there can be none."""
    folder = (base_dir / Path(slug.path).expanduser()).absolute()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise KarstError(
            f"{slug}: {folder} {what}", hint=f"the path is relative to {base_dir}, the list's folder", code="no_folder"
        )
    folder = folder.resolve()
    names, tree = _state(slug, folder, budget)
    key, revision = "dir", f"{tree[:2]}/{tree[:12]}"
    cached = store.find(key, revision, tree)
    return cached or _copy(slug, folder, names, key)


def recall(slug: Slug, tree: str) -> Checkout:
    """The snapshot that was made of the folder when it had this tree; KarstError (``no_snapshot``) when it is gone."""
    cached = store.find("dir", f"{tree[:2]}/{tree[:12]}", tree)
    if cached is None:
        raise KarstError(
            f"{slug}: the snapshot dir-{tree[:12]} that was rolled back to is no longer in the cache",
            hint="`iac update SERVICE` goes on with the folder as it is",
            code="no_snapshot",
        )
    return cached


def tree_of(folder: Path) -> str:
    """The hash that a snapshot of ``folder`` would have now; OSError when it cannot be read. Copies nothing."""
    return hash_files(folder, sorted(_listed(folder), key=os.fsencode))


def _state(slug: Slug, folder: Path, budget: Budget) -> tuple[list[str], str]:
    """The files that count and their hash; once more when one went away meanwhile, as editors make them."""
    for _ in range(3):
        try:
            names = sorted(_listed(folder), key=os.fsencode)
            _check(slug, folder, names, budget)
            return names, hash_files(folder, names)
        except FileNotFoundError:
            continue
        except OSError as err:
            raise _unreadable(slug, folder, err) from None
    raise KarstError(f"{slug}: the files of {folder} change all the time", hint="try again", code="not_readable")


def _copy(slug: Slug, folder: Path, names: list[str], key: str) -> Checkout:
    with store.workplace() as work:
        target = work / "tree"
        target.mkdir()
        for name in names:
            source, copy = folder / name, target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                if source.is_symlink():
                    copy.symlink_to(os.readlink(source))
                else:
                    shutil.copyfile(source, copy)
                    copy.chmod(0o755 if source.stat().st_mode & 0o111 else 0o644)
            except FileNotFoundError:
                continue  # removed since it was listed: the copy is what counts
            except PermissionError as err:
                raise _unreadable(slug, folder, err) from None
        store.prune(store.SNAPSHOT_SECONDS, key)  # every saved change makes one
        checkout = store.measured(target)  # of the copy: somebody may be writing to the original
        return store.add(key, f"{checkout.tree[:2]}/{checkout.tree[:12]}", target, checkout)


def _unreadable(slug: Slug, folder: Path, err: OSError) -> KarstError:
    where = err.filename if isinstance(err.filename, str) else folder
    return KarstError(f"{slug}: cannot read {where}: {err.strerror}", code="not_readable")


def _check(slug: Slug, folder: Path, names: list[str], budget: Budget) -> None:
    """The limits and refusals of an archive hold for a folder as well."""
    limits = budget.limits
    size = 0
    try:
        if not names:
            raise KarstError(
                f"{slug}: {folder} has no files",
                hint="name a folder that holds the source; what git ignores does not count",
                code="no_files",
            )
        if len(names) > limits.files:
            raise archive.too_large(f"more than {limits.files} files", "KARST_FETCH_MAX_FILES")
        for name in names:
            budget.left()
            info = (folder / name).lstat()
            if not (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
                raise KarstError(f"{slug}: {folder / name} is no file, folder or link", code="unsafe_archive")
            size += info.st_size
        if size > limits.tree:
            raise archive.too_large(f"more than {limits.tree // MIB} MiB", "KARST_FETCH_MAX_TREE_MB")
        archive.check_links(folder, [name for name in names if (folder / name).is_symlink()])
    except archive.Unsafe as err:
        raise KarstError(f"{slug}: {err.message}", hint=err.hint, code=err.code) from None


def _listed(folder: Path) -> Iterator[str]:
    """Relative paths of the files that count: what git would add, or without git everything but SKIPPED."""
    tracked = _by_git(folder)
    if tracked:
        for name in tracked:
            path = folder / name
            if path.is_symlink() or path.is_file():
                yield name
            elif path.is_dir():  # a submodule, or a repository inside
                yield from (f"{name.rstrip('/')}/{inner}" for inner in _listed(path))
        return
    yield from _walked(folder)


def _by_git(folder: Path) -> list[str]:
    """``git ls-files`` of what is tracked or would be added; nothing outside a work tree.

    core.fsmonitor and hooks are off: they are the settings of a repository that could start a program here.
    """
    if shutil.which("git") is None:
        return []
    settings = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "safe.directory=*")
    command = ["git", *(word for setting in settings for word in ("-c", setting))]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            [*command, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    return [os.fsdecode(raw) for raw in done.stdout.split(b"\0") if raw]


def _walked(folder: Path) -> Iterator[str]:
    for here, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED or (name in _ENVIRONMENTS and not Path(here, name, "pyvenv.cfg").exists())
        ]
        links = [name for name in folders if Path(here, name).is_symlink()]
        for name in (*names, *links):
            if name not in SKIPPED:
                yield Path(here, name).relative_to(folder).as_posix()
