"""Reading a repository's manifests: never outside its folder, in whatever encoding they are."""

from __future__ import annotations

import codecs
import configparser
import json
import tomllib
from pathlib import Path
from typing import Any

from karst.errors import KarstError

# Lock files of large projects reach a few MB; anything beyond that is not a manifest.
MAX_BYTES = 32 * 1024 * 1024


class Tree:
    """A repository's folder, read-only. Every path is relative to it; a link that leaves it counts as absent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = root.resolve()
        self._known: dict[str, Path | None] = {}

    def path(self, relative: str) -> Path | None:
        """The file or folder, or None when absent or when a link leads outside: then the host's files would be read."""
        if relative not in self._known:
            self._known[relative] = self._resolved(relative)
        return self._known[relative]

    def _resolved(self, relative: str) -> Path | None:
        # `a/../../source/b` may end inside again; written below another folder, the same words would leave that one.
        if relative.startswith("/") or ".." in relative.split("/"):
            return None
        try:
            real = (self._real / relative).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        return real if real.is_relative_to(self._real) else None

    def is_file(self, relative: str) -> bool:
        path = self.path(relative)
        return path is not None and path.is_file()

    def is_dir(self, relative: str) -> bool:
        path = self.path(relative)
        return path is not None and path.is_dir()

    def names(self, relative: str = ".") -> list[str]:
        """Sorted names in a folder; empty when it is not one."""
        path = self.path(relative)
        return sorted(entry.name for entry in path.iterdir()) if path is not None and path.is_dir() else []

    def text(self, relative: str) -> str | None:
        """A file's text (UTF-8, or UTF-16 and UTF-8 with a byte order mark, else Latin-1), or None when absent."""
        path = self.path(relative)
        if path is None or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return decode(path.read_bytes())

    def toml(self, relative: str) -> dict[str, Any]:
        """A TOML file, {} when absent; a file that does not parse is an error that names it."""
        text = self.text(relative)
        if text is None:
            return {}
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as err:
            raise KarstError(f"{relative} is not valid TOML: {err}", code="bad_manifest") from err

    def json(self, relative: str) -> dict[str, Any]:
        text = self.text(relative)
        try:
            value = json.loads(text or "{}")
        except ValueError as err:
            raise KarstError(f"{relative} is not valid JSON: {err}", code="bad_manifest") from err
        return value if isinstance(value, dict) else {}

    def ini(self, relative: str) -> configparser.ConfigParser:
        """An INI file; an empty parser when absent or when it does not parse (setuptools would refuse it later)."""
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(self.text(relative) or "")
        except configparser.Error:
            return configparser.ConfigParser(interpolation=None)
        return parser


def decode(raw: bytes) -> str:
    """Text of a manifest. Windows shells write ``pip freeze > requirements.txt`` as UTF-16; pip reads the mark too."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            return raw.decode(encoding, errors="replace").replace("\r\n", "\n")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\n")
