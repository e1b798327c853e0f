"""Unpacking a tar archive that somebody else made, so that nothing lands outside its folder.

Own code, not ``tarfile.extractall(filter=…)``: Python 3.11.2 (Debian 12) has no filters, and bombs need counting
while unpacking. Regular files are written first and links last, so that no file is ever written through a link; the
links are then resolved for real, because ``a/l1 -> ..`` and ``a/l2 -> l1/../x`` look harmless one by one.
"""

from __future__ import annotations

import errno
import gzip
import os
import posixpath
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from karst.errors import KarstError
from karst.fetch.limits import MIB, Budget
from karst.slug import shown

_CHUNK = 1 << 20
_MAX_HEADER = 1 << 20
_RATIO_FROM = 64 * MIB
_ODD_NAME = {errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR}
_EXTENDED = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}


class Unsafe(KarstError):
    """The archive holds what no repository needs; another way of fetching it would not make it better."""


class Broken(KarstError):
    """The archive cannot be read: not gzip, cut short, no tar."""


@dataclass(frozen=True)
class Unpacked:
    """What came out.

    Attributes:
        comment: the commit id git wrote into the archive, or "".
        mtime: newest time stamp of an entry; git writes the commit's time.
        files: number of entries.
        size: bytes of all files.
    """

    comment: str
    mtime: int
    files: int
    size: int


class _Header(tarfile.TarInfo):
    """A header block; extended headers are read into memory whole, so theirs must be small."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENDED and header.size > _MAX_HEADER:
            raise Unsafe("its archive has a header of more than 1 MiB", code="unsafe_archive")
        return header


class _Counting:
    """A stream that knows how much was read from it, and stops at a limit."""

    def __init__(self, raw: IO[bytes], limit: int, what: str) -> None:
        self.raw, self.limit, self.what, self.count = raw, limit, what, 0

    def read(self, size: int = -1) -> bytes:
        data = self.raw.read(_CHUNK if size < 0 else size)
        self.count += len(data)
        if self.count > self.limit:
            raise too_large(self.what, "KARST_FETCH_MAX_TREE_MB")
        return data


def too_large(what: str, variable: str) -> Unsafe:
    """The error for a limit of karst.fetch.limits."""
    return Unsafe(f"it is too large: {what}", hint=f"if you trust the repository, raise {variable}", code="too_large")


def unpack(raw: IO[bytes], target: Path, budget: Budget, *, compressed: int | None = None) -> Unpacked:
    """Unpack a tar (gzipped or plain) without its top folder into ``target``, which must be an empty folder.

    ``compressed`` is the archive's size for the ratio limit. Raises Unsafe (or its code ``too_large``) or Broken;
    the caller throws ``target`` away then.
    """
    limits = budget.limits
    magic = raw.read(2)
    stream: Any = _Prefixed(magic, raw)
    if magic == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=stream, mode="rb")
    # 2 KiB for each entry's headers and padding on top of the files themselves.
    counted = _Counting(stream, limits.tree + limits.files * 2048 + MIB, f"more than {limits.tree // MIB} MiB unpacked")
    try:
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_Header) as tar:  # type: ignore[call-overload]
            unpacker = _Unpacker(tar, target, budget, compressed)
            unpacker.run()
            return Unpacked(str(tar.pax_headers.get("comment", "")), unpacker.mtime, len(unpacker.kinds), unpacker.size)
    except OSError as err:
        if err.errno in _ODD_NAME:
            raise Unsafe("its archive holds a name that this disk cannot hold", code="unsafe_archive") from None
        if isinstance(err, gzip.BadGzipFile):
            raise Broken("the archive is not whole gzip", code="broken_archive") from None
        raise
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, OverflowError, ValueError) as err:
        raise Broken(
            f"the archive cannot be read ({shown(str(err)) or type(err).__name__})", code="broken_archive"
        ) from None


class _Prefixed:
    """A stream whose first bytes were read already."""

    def __init__(self, first: bytes, raw: IO[bytes]) -> None:
        self.first, self.raw = first, raw

    def read(self, size: int = -1) -> bytes:
        if self.first and size != 0:
            first = self.first if size < 0 else self.first[:size]
            self.first = self.first[len(first) :]
            return first + (self.raw.read() if size < 0 else b"")
        return self.raw.read(size)


class _Unpacker:
    def __init__(self, tar: tarfile.TarFile, target: Path, budget: Budget, compressed: int | None) -> None:
        self.tar, self.target, self.budget, self.compressed = tar, target, budget, compressed
        self.kinds: dict[str, str] = {}
        self.links: list[tuple[str, str]] = []
        self.size = 0
        self.mtime = 0
        self.top: str | None = None

    def run(self) -> None:
        seen = 0
        while (member := self.tar.next()) is not None:
            self.tar.members = []  # type: ignore[attr-defined]  # it would keep every header
            self.budget.left()
            seen += 1
            if seen > self.budget.limits.files:
                raise too_large(f"more than {self.budget.limits.files} files", "KARST_FETCH_MAX_FILES")
            name = self._inside(member.name)
            if name:
                self._one(member, name)
        if self.top is None:
            raise Broken("the archive is empty", code="broken_archive")
        for name, target in self.links:
            path = self._prepare(name)
            path.symlink_to(target)
        check_links(self.target, [name for name, _ in self.links])

    def _inside(self, raw: str) -> str:
        """The entry's path below the top folder ("" for the top itself); Unsafe when it points elsewhere."""
        if raw.startswith("/") or "\0" in raw or ".." in raw.split("/"):
            raise Unsafe(f"its archive holds the path `{shown(raw)}`, which leaves its folder", code="unsafe_archive")
        parts = [part for part in raw.split("/") if part not in ("", ".")]
        if not parts:
            return ""
        if self.top is None:
            self.top = parts[0]
        if parts[0] != self.top:
            raise Unsafe("its archive has more than one top folder", code="unsafe_archive")
        if any(part.lower() == ".git" for part in parts[1:]):
            raise Unsafe(f"its archive holds a `.git` (`{shown(raw)}`)", code="unsafe_archive")
        return "/".join(parts[1:])

    def _one(self, member: tarfile.TarInfo, name: str) -> None:
        self.mtime = max(self.mtime, int(member.mtime))
        if member.isdir() and self.kinds.get(name, "folder") == "folder":
            self._prepare(f"{name}/")
            return
        if name in self.kinds:
            raise Unsafe(f"its archive holds `{shown(name)}` twice", code="unsafe_archive")
        if member.issym():
            self._check_link(name, member.linkname, posixpath.dirname(name))
            self.links.append((name, member.linkname))
            self.kinds[name] = "link"
        elif member.islnk():
            self._hard_link(member, name)
        elif member.isreg() and not member.issparse():
            source = self.tar.extractfile(member)
            if source is None:
                raise Broken(f"the archive lacks the bytes of `{shown(name)}`", code="broken_archive")
            self._write(name, source, member.size, executable=bool(member.mode & 0o111))
        else:
            what = "a device" if member.isdev() else "an entry that is neither file, folder nor link"
            raise Unsafe(f"its archive holds {what}: `{shown(name)}`", code="unsafe_archive")

    def _check_link(self, name: str, target: str, base: str) -> None:
        whole = posixpath.normpath(posixpath.join(base, target))
        if not target or target.startswith("/") or "\0" in target or whole == ".." or whole.startswith("../"):
            raise escaping(name, target)

    def _hard_link(self, member: tarfile.TarInfo, name: str) -> None:
        """Git makes none, other tools do: the bytes are copied, so that the two names stay apart."""
        source = self._inside(member.linkname)
        if self.kinds.get(source) != "file":
            raise escaping(name, member.linkname)
        path = self.target / source
        with path.open("rb") as handle:
            info = os.fstat(handle.fileno())
            self._write(name, handle, info.st_size, executable=bool(info.st_mode & 0o111))

    def _write(self, name: str, source: IO[bytes], size: int, *, executable: bool) -> None:
        self.size += size
        limits = self.budget.limits
        if self.size > limits.tree:
            raise too_large(f"more than {limits.tree // MIB} MiB unpacked", "KARST_FETCH_MAX_TREE_MB")
        if self.compressed and self.size > _RATIO_FROM and self.size > self.compressed * limits.ratio:
            why = f"it unpacks to more than {limits.ratio} times its size, as only bombs do"
            raise too_large(why, "KARST_FETCH_MAX_RATIO")
        path = self._prepare(name)
        # Plain modes: setuid, setgid, sticky and write bits of others have no business in an image.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755 if executable else 0o644)
        with os.fdopen(fd, "wb") as handle:
            os.fchmod(handle.fileno(), 0o755 if executable else 0o644)
            left = size
            while left > 0:
                self.budget.left()
                chunk = source.read(min(_CHUNK, left))
                if not chunk:
                    raise Broken("the archive is cut short", code="broken_archive")
                handle.write(chunk)
                left -= len(chunk)
        self.kinds[name] = "file"

    def _prepare(self, name: str) -> Path:
        """The path for ``name``, its parents made; Unsafe when a parent is a file or a link."""
        parent = ""
        for part in name.split("/")[:-1]:
            parent = f"{parent}/{part}" if parent else part
            if self.kinds.get(parent) in ("file", "link"):
                raise Unsafe(f"its archive holds `{shown(name)}` below a file or link", code="unsafe_archive")
            if parent not in self.kinds:
                (self.target / parent).mkdir(exist_ok=True)
                self.kinds[parent] = "folder"
        return self.target / name


def escaping(name: str, target: str) -> Unsafe:
    """The error for a link that leaves the tree."""
    return Unsafe(
        f"it holds the link `{shown(name)}` to `{shown(target)}`, which leaves the repository",
        hint="links must stay inside the repository: replace it by a copy, or by a relative link",
        code="unsafe_archive",
    )


def check_links(root: Path, names: Iterable[str]) -> None:
    """Raise Unsafe when one of the links is absolute, or ends outside ``root`` when it is resolved for real."""
    real = os.path.realpath(root)
    for name in names:
        end = os.path.realpath(root / name)
        if os.readlink(root / name).startswith("/") or (end != real and not end.startswith(real + os.sep)):
            raise escaping(name, os.readlink(root / name))
