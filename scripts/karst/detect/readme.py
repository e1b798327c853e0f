"""Commands in the README: they never start a search, but they break a tie between candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence

from karst.detect.launch import Launch
from karst.detect.repo import Repo

_NAMES = re.compile(r"(?i)\Areadme(\.(md|rst|txt|markdown))?\Z")
FILE = re.compile(
    r"(?:\bpython3?(?:\.\d+)?|\bpy|\b(?:streamlit|chainlit|uv) run|\bpanel serve)\s+(?:-u\s+)?"
    r"([\w./\\-]+\.py)\b([^`#&|;]*)"
)
MODULE = re.compile(r"\bpython3?(?:\.\d+)?\s+-m\s+([\w.]+)([^`#&|;]*)")
SPEC = re.compile(r"\b(?:uvicorn|gunicorn|hypercorn|granian|daphne)\b[^\n`]{0,120}?\s\"?([\w.]+):\w+")


def alone(rest: str) -> bool:
    """Whether a command has no arguments but options: with a file or an id behind it, it is no start by itself."""
    words = rest.strip(" \t\"'<>()*.,:").split()
    return not words or words[0].startswith("-") or words[0][:1].isupper() or not words[0].isascii()


def mentioned(repo: Repo, candidates: Sequence[Launch]) -> tuple[Launch, str] | None:
    """The one candidate that the README starts and ``file:line``; None when it starts none or several of them."""
    path = next((name for name in repo.tree.root_files() if _NAMES.match(name)), "")
    text = repo.tree.text(path) if path else None
    if not text:
        return None
    found: dict[str, tuple[Launch, str]] = {}
    for number, line in enumerate(text.splitlines()[:3000], 1):
        if len(line) > 500:
            continue
        files = {name.replace("\\", "/").removeprefix("./") for name, rest in FILE.findall(line) if alone(rest)}
        modules = {*(name for name, rest in MODULE.findall(line) if alone(rest)), *SPEC.findall(line)}
        for made in candidates:
            dotted = repo.modules.dotted(made.path)
            if made.path in files or dotted in modules or made.path.removesuffix(".py").replace("/", ".") in modules:
                found.setdefault(made.path, (made, f"{path}:{number}"))
    return next(iter(found.values())) if len(found) == 1 else None
