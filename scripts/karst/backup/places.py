"""Paths that mean the same on another machine: those in the checkout and in the stack's folder are written relative."""

from __future__ import annotations

from pathlib import Path

from karst.stack import ROOT


class Places:
    """Writes and reads paths of one stack; ``home`` is the stack's folder on this machine."""

    def __init__(self, home: Path) -> None:
        self._known = {"{stack}": home, "{kit}": ROOT}

    def written(self, path: Path) -> str:
        for word, folder in self._known.items():
            if path == folder or folder in path.parents:
                return f"{word}/{path.relative_to(folder)}"
        return str(path)

    def read(self, text: str) -> Path:
        word, _, rest = text.partition("/")
        return self._known[word] / rest if word in self._known else Path(text)
