"""Files: the cache folder, atomic writes, locks between processes, and the hash of a tree."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from karst.errors import BusyError, KarstError


def cache_dir() -> Path:
    """The cache outside the checkout: ``KARST_CACHE``, else ``$XDG_CACHE_HOME/karst``, else ``~/.cache/karst``."""
    explicit = os.environ.get("KARST_CACHE")
    if explicit:
        return Path(explicit).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "karst"


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Write to a temporary name beside ``path`` and rename: a reader sees the old file or the new one, never half.

    ``owner`` is (uid, gid) for a caller that may give files away; the new file has it before it has its name.
    """
    raw = data.encode() if isinstance(data, str) else data
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(fd, "wb") as handle:
                os.fchmod(handle.fileno(), mode)
                if owner is not None:
                    os.fchown(handle.fileno(), *owner)
                handle.write(raw)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(tmp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(tmp)
            raise


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk or a refused write into one sentence that names the place."""
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise KarstError(
                f"no space left on the disk that holds {where}",
                hint="free some space, or point KARST_CACHE at another disk; what was there before is untouched",
                code="disk_full",
            ) from err
        if err.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise KarstError(f"cannot write {where}: {err.strerror}", code="not_writable") from err
        raise


@contextlib.contextmanager
def locked(path: Path, *, wait: float | None = None, busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made when absent).

    ``wait`` is in seconds: None waits for ever, 0 raises BusyError(``busy``) at once. The kernel frees the lock when
    its holder dies, so there are no stale locks to clean up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if wait is None:
            fcntl.flock(fd, fcntl.LOCK_EX)
        else:
            deadline = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise BusyError(busy or f"{path} is locked by another process", code="busy") from None
                    time.sleep(0.1)
        yield
    finally:
        os.close(fd)


def held(path: Path) -> bool:
    """Whether somebody holds the lock on ``path`` (see ``locked``). Two who ask at once do not see each other."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def tree_hash(root: Path, *, skip: frozenset[str] = frozenset({".git"})) -> str:
    """SHA-256 over (relative path, kind, executable bit, bytes) of a sorted walk: the same on every file system.

    Times, owners and other mode bits do not count. Names in ``skip`` are left out at every depth.
    """
    return hash_files(root, (relative for relative, _ in _walk(root, skip)))


def hash_files(root: Path, names: Iterable[str]) -> str:
    """The ``tree_hash`` of just these files and links, given as paths relative to ``root``."""
    digest = hashlib.sha256()
    for relative in sorted(map(os.fsencode, names)):
        path = root / os.fsdecode(relative)
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            kind, body = b"l", hashlib.sha256(os.fsencode(os.readlink(path))).digest()
        else:
            with path.open("rb") as handle:
                kind, body = (b"x" if info.st_mode & 0o111 else b"f"), hashlib.file_digest(handle, "sha256").digest()
        for part in (relative, kind, body):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _walk(root: Path, skip: frozenset[str]) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in skip]
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*names, *links]:
            if name not in skip:
                path = here / name
                yield path.relative_to(root).as_posix(), path
