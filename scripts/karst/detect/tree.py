"""A read-only view of a repository's tree: sorted, bounded, decoded with care, and never outside its root."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from karst.detect.errors import DetectError
from karst.detect.skip import PRUNED, SCAN_SECONDARY, example_file, secondary_folder, test_file

MAX_ENTRIES = 60_000  # a breadth-first walk: what is cut off in a giant tree is its deepest part
MAX_DEPTH = 12
MAX_TEXT = 1 << 20  # bytes of a manifest or source file; larger ones are data
_COOKIE = re.compile(rb"\A[ \t\f]*#[^\n]{0,200}?coding[:=][ \t]*([-\w.]{1,40})")


@dataclass(frozen=True)
class Entry:
    """One regular file: its size and whether it may be executed."""

    size: int
    executable: bool


class Tree:
    """The files below ``root``. Paths are relative, with ``/``; links are followed only inside the tree."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DetectError("no_source", f"{root} is not a folder", hint="give the path of a checked-out repository")
        self.files: dict[str, Entry] = {}
        self.folders: set[str] = {""}
        self.truncated = False
        self.own: set[str] = set()  # top folders that are the project itself, whatever their name says
        self._texts: dict[str, str | None] = {}
        self._walk()
        # Folders that hold Python somewhere below: what an import without ``__init__.py`` can find.
        self.python_folders = {
            "/".join(path.split("/")[:count])
            for path in self.files
            if path.endswith(".py")
            for count in range(1, path.count("/") + 1)
        }

    def _walk(self) -> None:
        real_root = os.path.realpath(self.root)
        level = [""]
        count = depth = 0
        while level and depth <= MAX_DEPTH:
            following: list[str] = []
            for folder in level:
                entries = self._scan(folder)
                if folder and self._virtual_environment(folder, entries):
                    continue
                self.folders.add(folder)
                for entry in entries:
                    count += 1
                    if count > MAX_ENTRIES:
                        self.truncated = True
                        return
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if self._is_folder(entry):
                        if not _pruned(entry.name):
                            following.append(path)
                    else:
                        self._add(path, real_root)
            level = following
            depth += 1

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / folder) as found:
                return sorted(found, key=lambda entry: entry.name)
        except OSError:
            return []

    def _virtual_environment(self, folder: str, entries: list[os.DirEntry[str]]) -> bool:
        """A committed virtual environment, of today's kind or of the old virtualenv's."""
        names = {entry.name for entry in entries}
        if "pyvenv.cfg" in names:
            return True
        scripts = "bin" if "bin" in names else "Scripts" if "Scripts" in names else ""
        return bool(scripts) and any(
            (self.root / folder / scripts / name).is_file() for name in ("activate", "activate_this.py", "activate.bat")
        )

    @staticmethod
    def _is_folder(entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir(follow_symlinks=False)
        except OSError:
            return False

    def _add(self, path: str, real_root: str) -> None:
        full = self.root / path
        try:
            path.encode()  # a name that is no UTF-8 cannot go into JSON
            info = full.lstat()
            if stat.S_ISLNK(info.st_mode):
                target = os.path.realpath(full)
                if os.path.commonpath([target, real_root]) != real_root:
                    return
                info = full.stat()
        except (OSError, ValueError):
            return
        if stat.S_ISREG(info.st_mode):
            self.files[path] = Entry(info.st_size, bool(info.st_mode & 0o111))

    def has(self, path: str) -> bool:
        return path in self.files

    def is_folder(self, path: str) -> bool:
        return path in self.folders

    def root_files(self) -> list[str]:
        return [path for path in self.files if "/" not in path]

    def children(self, folder: str) -> list[str]:
        """Names of the folders directly inside ``folder``, sorted."""
        prefix = f"{folder}/" if folder else ""
        found = {path[len(prefix) :] for path in self.folders if path.startswith(prefix) and path != folder}
        return sorted(name for name in found if name and "/" not in name)

    def head(self, path: str, size: int = 4096) -> bytes:
        """The first bytes of a file; b"" when it cannot be read."""
        if path not in self.files:
            return b""
        try:
            with (self.root / path).open("rb") as handle:
                return handle.read(size)
        except OSError:
            return b""

    def text(self, path: str) -> str | None:
        """The decoded file, or None when it is absent, too large, or binary."""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str | None:
        entry = self.files.get(path)
        if entry is None or entry.size > MAX_TEXT:
            return None
        raw = self.head(path, MAX_TEXT + 1)
        return None if len(raw) > MAX_TEXT else decode(raw)

    def python_files(self, *, secondary: bool = False, scan: bool = False) -> list[str]:
        """The .py files, shallow first; without tests, docs and examples unless ``secondary``.

        ``scan`` also leaves out the helper folders that only the last rule avoids.
        """
        found = [
            path for path in self.files if path.endswith(".py") and (secondary or not self.secondary(path, scan=scan))
        ]
        return sorted(found, key=lambda path: (path.count("/"), path))

    def suffixes(self) -> Counter[str]:
        """How many files of each suffix there are outside tests, docs and examples."""
        return Counter(
            os.path.splitext(path)[1].lower() for path in self.files if not self.secondary(path) and "." in path
        )

    def secondary(self, path: str, *, scan: bool = False) -> bool:
        """True for a file in a tests, docs, examples … folder, or with the name of a test."""
        *folders, name = path.split("/")
        if folders and folders[0] in self.own:
            folders = folders[1:]
        if any(secondary_folder(folder) for folder in folders) or test_file(name):
            return True
        return scan and (example_file(name) or any(folder.lower() in SCAN_SECONDARY for folder in folders))


def _pruned(name: str) -> bool:
    return name.lower() in PRUNED or name.startswith(".") or name.endswith((".egg-info", ".dist-info", ".egg"))


def decode(raw: bytes) -> str | None:
    """Text of any encoding met in the wild: BOMs, UTF-16 without one, a coding cookie, else UTF-8, else Latin-1."""
    for bom, codec in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if raw.startswith(bom):
            return raw.decode(codec, errors="replace").replace("\x00", "")
    head = raw[:512]
    if b"\x00" in head:
        odd, even = head[1::2].count(0), head[0::2].count(0)
        if odd > len(head) // 4 and even == 0:
            return raw.decode("utf-16-le", errors="replace").replace("\x00", "")
        if even > len(head) // 4 and odd == 0:
            return raw.decode("utf-16-be", errors="replace").replace("\x00", "")
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for line in raw.split(b"\n", 2)[:2]:
        match = _COOKIE.match(line)
        if match:
            try:
                return raw.decode(match.group(1).decode("ascii"), errors="replace")
            except (LookupError, UnicodeError, ValueError):
                break
    return raw.decode("latin-1")
