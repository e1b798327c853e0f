"""Pipfile.lock and Pipfile. Source of the format: https://github.com/pypa/pipfile and Pipenv's documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from karst.deps.lockfile import PYPI, Locked, Pin
from karst.deps.pep508 import both, environments, holds
from karst.deps.poetry import git_url

Table = Mapping[str, Any]
# Pipenv lets every marker variable be a key of its own: {version = "*", sys_platform = "== 'win32'"}.
MARKER_KEYS = (
    "os_name",
    "platform_machine",
    "platform_system",
    "python_full_version",
    "python_version",
    "sys_platform",
    "platform_python_implementation",
    "implementation_name",
)


def lock_pins(lock: Table, python: str) -> list[Pin]:
    """The ``default`` section: what ``pipenv sync`` installs."""
    sources = {source.get("name"): str(source.get("url", "")) for source in lock.get("_meta", {}).get("sources", [])}
    where, pins = environments(python), []
    for name, entry in sorted(lock.get("default", {}).items()):
        marker = _marker(entry)
        verdict = holds(marker, where)
        if verdict is False:
            continue
        index = sources.get(entry.get("index"), "")
        package = Locked(
            name=name,
            version=str(entry.get("version", "")).removeprefix("=="),
            hashes=tuple(map(str, entry.get("hashes", []))),
            url=_url(entry),
            local=str(entry.get("path", "")),
            index=index,
        )
        pins.append(Pin(package, "" if verdict else marker))
    return pins


def requirement_lines(pipfile: Table) -> tuple[list[str], list[str]]:
    """``[packages]`` of a Pipfile without a lock: requirement lines, and the local folders it names."""
    lines, local = [], []
    for name, value in pipfile.get("packages", {}).items():
        table = value if isinstance(value, Mapping) else {"version": str(value)}
        if "path" in table:
            local.append(str(table["path"]))
            continue
        extras = f"[{','.join(sorted(table.get('extras', [])))}]" if table.get("extras") else ""
        version = str(table.get("version", "*"))
        marker = _marker(table)
        url = _url(table)
        head = f"{name}{extras} @ {url}" if url else f"{name}{extras}{'' if version == '*' else version}"
        lines.append(head + (f" ; {marker}" if marker else ""))
    return lines, local


def extra_indexes(pipfile: Table) -> list[str]:
    """``[[source]]`` addresses besides PyPI."""
    urls = [str(source.get("url", "")).rstrip("/") for source in pipfile.get("source", [])]
    return [url for url in urls if url and url != PYPI]


def _marker(table: Table) -> str:
    parts = [str(table.get("markers", ""))]
    parts += [f"{key} {table[key]}" for key in MARKER_KEYS if isinstance(table.get(key), str)]
    return both(*parts)


def _url(table: Table) -> str:
    if table.get("git"):
        below = f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else ""
        return git_url(str(table["git"]), str(table.get("ref") or "")) + below
    return str(table.get("file") or table.get("url") or "")
