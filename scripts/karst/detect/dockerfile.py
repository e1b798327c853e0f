"""The repository's own Dockerfile, read as text: its labels, and what its last stage starts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from karst.detect.tree import Tree


@dataclass
class Dockerfile:
    """What the last stage says.

    Attributes:
        label: the value of ``LABEL ENTRYPOINT`` and its line, or None.
        entrypoint, command: exec-form list or shell-form text, with its line.
        copied: folders of the repository that are copied somewhere, in order.
    """

    path: str
    label: tuple[str, int] | None = None
    entrypoint: tuple[list[str] | str, int] | None = None
    command: tuple[list[str] | str, int] | None = None
    copied: list[str] = field(default_factory=list)


def read(tree: Tree) -> Dockerfile | None:
    """The Dockerfile at the root, or None."""
    path = next((name for name in ("Dockerfile", "Containerfile", "dockerfile") if tree.has(name)), "")
    text = tree.text(path) if path else None
    if text is None:
        return None
    found = Dockerfile(path)
    for line, keyword, rest in instructions(text):
        if keyword == "FROM":
            found.entrypoint = found.command = None
        elif keyword == "LABEL":
            value = _label(rest)
            if value is not None:
                found.label = (value, line)
        elif keyword == "ENTRYPOINT":
            found.entrypoint, found.command = (_form(rest), line), None
        elif keyword == "CMD":
            found.command = (_form(rest), line)
        elif keyword in ("COPY", "ADD"):
            words = [word for word in rest.split() if not word.startswith("--")]
            if not any(word.startswith("--from") for word in rest.split()):
                found.copied += [word.strip("./").rstrip("/") for word in words[:-1]]
    return found


def instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, KEYWORD, rest) of every instruction, continuation lines joined, heredocs left out."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        start = number
        line = lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        while line.endswith("\\") and number < len(lines):
            following = lines[number].strip()
            number += 1
            if following.startswith("#"):
                continue
            line = line[:-1] + " " + following
        keyword, _, rest = line.partition(" ")
        yield start + 1, keyword.upper(), rest.strip()
        here = re.search(r"<<-?[\"']?(\w+)[\"']?", rest) if keyword.upper() in ("RUN", "COPY", "ADD") else None
        if here:
            while number < len(lines) and lines[number].strip() != here.group(1):
                number += 1
            number += 1


def _label(rest: str) -> str | None:
    try:
        words = shlex.split(rest)
    except ValueError:
        return None
    if len(words) >= 2 and words[0] == "ENTRYPOINT" and "=" not in rest.split()[0]:
        return " ".join(words[1:])
    value = None
    for word in words:
        key, sep, text = word.partition("=")
        if sep and key == "ENTRYPOINT":
            value = text
    return value


def _form(rest: str) -> list[str] | str:
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except (ValueError, RecursionError):
            return rest
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return rest
