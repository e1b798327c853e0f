"""The build context: a folder with the Dockerfile, the source, and what the dependency layer needs before it.

Kept in the cache under its input hash: an unchanged service finds its context as it was, and builds nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from karst.deps import Plan
from karst.deps.tree import Tree
from karst.files import cache_dir, disk_errors
from karst.render import bytecode

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


def entries(source: Path) -> Iterator[tuple[str, Path]]:
    """(relative path, path) of every file and link of the app, sorted."""
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if name not in SKIP and not (here / name / "pyvenv.cfg").is_file())
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*names, *links]):
            if name in SKIP:
                continue
            path = here / name
            if path.is_symlink() or path.is_file():
                yield path.relative_to(source).as_posix(), path


def ensure(input_hash: str, dockerfile: str, plan: Plan | None, source: Path, cache_tag: str = "") -> Path:
    """The context's folder, made when absent.

    ``cache_tag`` names the byte code to put beside the modules; "" means none.
    """
    return kept(input_hash, lambda draft: _write(draft, dockerfile, plan, source, cache_tag))


def kept(input_hash: str, write: Callable[[Path], None]) -> Path:
    """The folder of that hash in the cache, filled by ``write`` when absent. Its time is touched, so that pruning knows
    what is in use.
    """
    target = cache_dir() / "build" / input_hash
    if target.is_dir():
        with contextlib.suppress(OSError):
            os.utime(target)
        return target
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{input_hash[:12]}."))
        try:
            write(draft)
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


def _write(draft: Path, dockerfile: str, plan: Plan | None, source: Path, cache_tag: str) -> None:
    (draft / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (draft / "src").mkdir()
    files = list(entries(source))
    for relative, path in files:
        place(path, draft / "src" / relative)
    if cache_tag:
        bytecode.compile_into(draft / "src", files, cache_tag)
    if plan is None:
        return
    tree = Tree(source)
    for name, text in (plan.skeleton or {}).items():
        found = tree.path(name)
        if text is None and found is not None:
            place(found, draft / "skeleton" / name)
        else:
            _text(draft / "skeleton" / name, text or "")
    for name in plan.manifests:
        found = tree.path(name)
        if found is not None and found.is_dir():
            for relative, path in entries(found):
                if not path.is_symlink():
                    place(path, draft / "deps" / name / relative)
        elif found is not None:
            place(found, draft / "deps" / name)
    for name, text in plan.files.items():
        _text(draft / "deps" / name, text)


def _text(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def place(path: Path, target: Path) -> None:
    """One file: a hard link to the cache, whose files nobody writes to, else a copy that every user can read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        target.symlink_to(os.readlink(path))
        return
    mode = 0o755 if info.st_mode & 0o111 else 0o644
    if stat.S_IMODE(info.st_mode) == mode:
        with contextlib.suppress(OSError):
            os.link(path, target)
            return
    shutil.copyfile(path, target)
    target.chmod(mode)
