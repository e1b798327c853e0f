"""requirements*.txt: which of them, and one flat file that does not need the source any more.

Nested ``-r`` files are written into one, ``-c`` files into a second; what points into the repository (``-e .``,
``./libs/x``) is set apart, because the dependency layer comes before the source. Source of the format:
https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, field

from karst.deps.pep508 import VCS, parse
from karst.deps.tree import Tree

# In this order. What is for running comes before what everything shares; the rest is never for running.
NAMES = (
    "requirements.lock",
    "requirements.txt",
    "requirements/prod.txt",
    "requirements/production.txt",
    "requirements-prod.txt",
    "requirements-production.txt",
    "requirements_prod.txt",
    "requirements/base.txt",
    "requirements/main.txt",
    "requirements/app.txt",
    "requirements/common.txt",
    "requirements/default.txt",
    "requirements/requirements.txt",
    "requirements/runtime.txt",
    "requirements.in",
)
NOT_FOR_RUNNING = re.compile(
    r"(^|[-_./])(dev|develop|development|test|tests|testing|docs?|lint|ci|build|type|typing|mypy)s?([-_./]|$)"
)
INDEX_OPTIONS = ("--index-url", "--extra-index-url", "--find-links", "--no-index", "--no-binary", "--only-binary")
SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
MAX_DEPTH = 8


@dataclass
class Requirements:
    """A requirements file, flattened.

    Attributes:
        lines: requirements with their markers and hashes.
        options: index options, one per line.
        constraints: the lines of every ``-c`` file.
        local: folders and files of the repository that are to be installed, relative to its root.
        folders: folders of the repository that ``--find-links`` names.
        prerelease: whether ``--pre`` was given.
    """

    lines: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prerelease: bool = False

    @property
    def hashed(self) -> bool:
        return any("--hash=" in line for line in self.lines)

    def text(self) -> str:
        return "".join(f"{line}\n" for line in [*self.options, *self.lines])


def find(tree: Tree, near: str = "") -> str:
    """The file to install from, or "". ``near`` is the folder of the entry file, which comes before the root."""
    for folder in [near, ""] if near else [""]:
        for name in NAMES:
            path = posixpath.join(folder, name)
            if tree.is_file(path):
                return path
    others = [
        name
        for name in tree.names()
        if re.fullmatch(r"requirements?[-_.\w]*\.(txt|pip)", name)
        and not NOT_FOR_RUNNING.search(name)
        and tree.is_file(name)
    ]
    return others[0] if len(others) == 1 else ""


def read(tree: Tree, path: str) -> Requirements:
    """Read ``path`` and everything it includes."""
    result = Requirements()
    _read(tree, path, result, frozenset(), result.lines)
    return result


def logical_lines(text: str) -> list[str]:
    """Lines with continuations joined and comments gone."""
    joined = re.sub(r"[ \t]*\\\n\s*", " ", text)
    return [line for line in (re.sub(r"(^|\s+)#.*$", "", raw).strip() for raw in joined.split("\n")) if line]


def _read(tree: Tree, path: str, result: Requirements, seen: frozenset[str], into: list[str]) -> None:
    text = tree.text(path)
    if text is None:
        result.notes.append(f"{path} is named but is not there")
        return
    if path in seen or len(seen) > MAX_DEPTH:
        return
    here = posixpath.dirname(path)
    for line in logical_lines(text):
        option, value = _option(line)
        if option in ("--requirement", "--constraint"):
            target = into if option == "--requirement" and into is result.lines else result.constraints
            _read(tree, posixpath.normpath(posixpath.join(here, value)), result, seen | {path}, target)
        elif option == "--editable" or (not option and _looks_local(tree, line, here)):
            _local(tree, value if option else line, here, result, into)
        elif option == "--find-links" and "://" not in value:
            result.folders.append(_inside(tree, value, here) or value)
        elif option in INDEX_OPTIONS:
            result.options.append(f"{option} {value}".strip())
        elif option == "--pre":
            result.prerelease = True
        elif option:
            result.notes.append(f"{path}: option {option} has no meaning here and is left out")
        else:
            into.append(_cleaned(line, path, result))


def _option(line: str) -> tuple[str, str]:
    if not line.startswith("-"):
        return "", ""
    match = re.match(r"(--?[A-Za-z][\w-]*)(?:[=\s]\s*(.*))?$", line)
    if match is None:
        short = line[:2]
        return (SHORT[short], line[2:].strip()) if short in SHORT else (line.split()[0], "")
    name, value = match.group(1), (match.group(2) or "").strip().strip("'\"")
    return SHORT.get(name, name), value


def _looks_local(tree: Tree, line: str, here: str) -> bool:
    head = line.split(" ;")[0].split(" --hash")[0].strip()
    if head.startswith((".", "/", "file:")):
        return True
    if "://" in head or " @ " in head:
        return False
    return bool(re.search(r"\.(whl|zip|tar\.gz|tgz)$", head)) or ("/" in head and _inside(tree, head, here) != "")


def _inside(tree: Tree, path: str, here: str) -> str:
    """A path as pip means it (relative to where pip runs: the root), else relative to the file; "" when not there."""
    path = path.removeprefix("file://").removeprefix("file:")
    for base in ("", here):
        candidate = posixpath.normpath(posixpath.join(base, path))
        if not path.startswith("/") and tree.path(candidate) is not None:
            return candidate
    return ""


def _local(tree: Tree, value: str, here: str, result: Requirements, into: list[str]) -> None:
    if value.startswith(VCS) or ("://" in value and not value.startswith("file:")):
        into.append(_vcs(value))
        return
    match = re.match(r"([^\[;#]+)(\[[^\]]*\])?", value)
    path, extras = (match.group(1).strip(), match.group(2) or "") if match else (value, "")
    found = _inside(tree, path, here)
    if found:
        result.local.append(found + extras)
    else:
        result.notes.append(f"{value} is not in the repository and is left out")


def _vcs(url: str) -> str:
    """``git+…#egg=name&subdirectory=x`` (editable or not) as a direct reference, which is all that uv takes."""
    address, _, fragment = url.partition("#")
    address = address.replace("git+git://", "git+https://", 1)
    parts = dict(part.split("=", 1) for part in fragment.split("&") if "=" in part)
    below = f"#subdirectory={parts['subdirectory']}" if "subdirectory" in parts else ""
    name = parts.get("egg", "")
    return f"{name} @ {address}{below}" if name else f"{address}{below}"


def _cleaned(line: str, path: str, result: Requirements) -> str:
    """One requirement: conda's build paths gone, per-requirement options that only old pip knew gone."""
    if line.startswith(VCS):
        return _vcs(line)
    requirement = parse(line)
    if requirement is not None and requirement.url and requirement.url.startswith("file:"):
        result.notes.append(
            f"{path}: {requirement.name} points to a folder of its author's machine; any version is taken"
        )
        return requirement.name
    if " --" not in line:
        return line
    words = shlex.split(line, posix=False)
    hashes = [word for word in words if word.startswith("--hash=")]
    head = line.split(" --", 1)[0].strip()
    return " ".join([head, *hashes])
