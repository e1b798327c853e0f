"""The build context: a folder with the Dockerfile, the source, and what the dependency layer needs before it.

Kept in the cache under its input hash: an unchanged service finds its context as it was, and builds nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from karst.deps import Plan
from karst.deps.tree import Tree
from karst.files import cache_dir, disk_errors

# Never part of an app: version control, caches of tools, environments made for another machine.
SKIP = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        ".tox",
        ".nox",
        ".terraform",
    }
)
ENV_EXAMPLES = (".example", ".sample", ".template", ".dist", ".defaults")


def entries(source: Path, *, local: bool) -> Iterator[tuple[str, Path]]:
    """(relative path, path) of every file and link of the app, sorted.

    From a local folder, ``.env`` files stay behind: they hold the developer's own secrets and are not in git.
    """
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if name not in SKIP and not (here / name / "pyvenv.cfg").is_file())
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*names, *links]):
            if name in SKIP or (local and _is_secret(name)):
                continue
            path = here / name
            if path.is_symlink() or path.is_file():
                yield path.relative_to(source).as_posix(), path


def content_hash(source: Path) -> str:
    """SHA-256 of what ``entries`` lists, for local folders: a log file or a cache in one must not replace a pod."""
    import hashlib

    digest = hashlib.sha256()
    for relative, path in entries(source, local=True):
        info = path.lstat()
        link = stat.S_ISLNK(info.st_mode)
        body = os.readlink(path).encode() if link else path.read_bytes()
        kind = b"l" if link else b"x" if info.st_mode & 0o111 else b"f"
        for part in (relative.encode(), kind, hashlib.sha256(body).digest()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def ensure(input_hash: str, dockerfile: str, plan: Plan | None, source: Path, *, local: bool) -> Path:
    """The context's folder, made when absent. Its time is touched, so that pruning knows what is in use."""
    target = cache_dir() / "build" / input_hash
    if target.is_dir():
        with contextlib.suppress(OSError):
            os.utime(target)
        return target
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{input_hash[:12]}."))
        try:
            _write(draft, dockerfile, plan, source, local=local)
            draft.chmod(0o755)
            os.replace(draft, target)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            # Somebody else made the same context meanwhile: the content is the same by construction.
            if not target.is_dir():
                raise
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return target


def _write(draft: Path, dockerfile: str, plan: Plan | None, source: Path, *, local: bool) -> None:
    (draft / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (draft / "src").mkdir()
    for relative, path in entries(source, local=local):
        # A local folder is edited in place: a link would let the next edit into a context that has a hash already.
        _place(path, draft / "src" / relative, link=not local)
    if plan is None or not (plan.manifests or plan.files):
        return
    (draft / "deps").mkdir()
    tree = Tree(source)
    for name in plan.manifests:
        found = tree.path(name)
        if found is not None and found.is_dir():
            for relative, path in entries(found, local=local):
                if not path.is_symlink():
                    _place(path, draft / "deps" / name / relative, link=not local)
        elif found is not None:
            _place(found, draft / "deps" / name, link=not local)
    for name, text in plan.files.items():
        (draft / "deps" / name).write_text(text, encoding="utf-8")


def _place(path: Path, target: Path, *, link: bool) -> None:
    """One file: a hard link where that is safe, else a copy that every user can read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        target.symlink_to(os.readlink(path))
        return
    mode = 0o755 if info.st_mode & 0o111 else 0o644
    if link and stat.S_IMODE(info.st_mode) == mode:
        with contextlib.suppress(OSError):
            os.link(path, target)
            return
    shutil.copyfile(path, target)
    target.chmod(mode)


def _is_secret(name: str) -> bool:
    return name == ".env" or (name.startswith(".env.") and not name.endswith(ENV_EXAMPLES))
