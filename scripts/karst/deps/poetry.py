"""poetry.lock, and Poetry's own dependency table, as pins and requirements.

Three generations of the format are about: 1.x (``category``), 2.0 (neither category nor groups: the graph has to be
walked) and 2.1 (``groups`` and ``markers`` per package, written by Poetry 2). Source of the format: poetry's
``packages/locker.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from karst.deps.lockfile import Edge, Locked, Pin, walk
from karst.deps.pep508 import both, environments, from_poetry, holds, normal, parse, python_marker, without_extra

Table = Mapping[str, Any]


def lock_pins(lock: Table, pyproject: Table, extras: frozenset[str], python: str) -> list[Pin]:
    """What ``poetry install --only main`` (with ``extras``) would install, with the lock's hashes."""
    entries = lock.get("package", [])
    if any("groups" in entry for entry in entries):
        return _grouped(lock, extras, python)
    packages = [_locked(lock, entry) for entry in entries]
    return walk(root_edges(pyproject, extras), packages, python)


def root_edges(pyproject: Table, extras: frozenset[str]) -> list[Edge]:
    """What the project itself asks for: Poetry's table and, since Poetry 2, ``[project]``."""
    edges = list(_project_edges(pyproject.get("project", {}), extras))
    poetry = pyproject.get("tool", {}).get("poetry", {})
    wanted = {normal(name) for extra in extras for name in poetry.get("extras", {}).get(extra, [])}
    for name, value in poetry.get("dependencies", {}).items():
        for spec in value if isinstance(value, list) else [value]:
            optional = isinstance(spec, Mapping) and spec.get("optional", False)
            if normal(name) != "python" and (not optional or normal(name) in wanted):
                edges.append(_edge(name, spec))
    return edges


def requirement_lines(pyproject: Table, extras: frozenset[str]) -> tuple[list[str], list[str]]:
    """Poetry's table without a lock: requirement lines, and the local folders it names."""
    lines, local = [], []
    poetry = pyproject.get("tool", {}).get("poetry", {})
    wanted = {normal(name) for extra in extras for name in poetry.get("extras", {}).get(extra, [])}
    for name, value in poetry.get("dependencies", {}).items():
        for spec in value if isinstance(value, list) else [value]:
            table = spec if isinstance(spec, Mapping) else {}
            if normal(name) == "python" or (table.get("optional") and normal(name) not in wanted):
                continue
            if "path" in table or "file" in table:
                local.append(str(table.get("path") or table.get("file")))
                continue
            edge = _edge(name, spec)
            marker = f" ; {edge.marker}" if edge.marker else ""
            picked = f"[{','.join(sorted(edge.extras))}]" if edge.extras else ""
            url = _table_url(table)
            lines.append(f"{name}{picked} @ {url}{marker}" if url else f"{name}{picked}{edge.constraint}{marker}")
    return lines, local


def _table_url(table: Table) -> str:
    if "git" in table:
        at = table.get("rev") or table.get("tag") or table.get("branch") or ""
        below = f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else ""
        return git_url(str(table["git"]), str(at)) + below
    return str(table.get("url", ""))


def git_url(url: str, at: str) -> str:
    """A git address as PEP 508 has it; ``git@host:path`` is the one shape that needs rewriting."""
    if url.startswith("git@") and ":" in url:
        host, path = url[4:].split(":", 1)
        url = f"ssh://git@{host}/{path}"
    return f"{url if url.startswith('git+') else 'git+' + url}{'@' + at if at else ''}"


def _project_edges(project: Table, extras: frozenset[str]) -> Iterator[Edge]:
    lists = [project.get("dependencies", [])]
    lists += [project.get("optional-dependencies", {}).get(extra, []) for extra in sorted(extras)]
    for line in (line for group in lists for line in group):
        requirement = parse(str(line))
        if requirement is not None:
            yield Edge(
                requirement.name,
                str(requirement.specifier),
                frozenset(requirement.extras),
                str(requirement.marker or ""),
            )


def _edge(name: str, spec: Any) -> Edge:
    if not isinstance(spec, Mapping):
        return Edge(name, from_poetry(str(spec)))
    marker = str(spec.get("markers", ""))
    if spec.get("python"):
        marker = both(marker, python_marker(str(spec["python"])))
    if spec.get("platform"):
        marker = both(marker, f'sys_platform == "{spec["platform"]}"')
    return Edge(name, from_poetry(str(spec.get("version", "*"))), frozenset(map(str, spec.get("extras", []))), marker)


def _locked(lock: Table, entry: Table) -> Locked:
    def edges(extras: frozenset[str]) -> Iterable[Edge]:
        for name, value in entry.get("dependencies", {}).items():
            for spec in value if isinstance(value, list) else [value]:
                edge = _edge(name, spec)
                if isinstance(spec, Mapping) and spec.get("optional"):
                    if not _asked(edge.marker, extras, entry, name):
                        continue
                    edge = Edge(edge.name, edge.constraint, edge.extras, without_extra(edge.marker))
                yield edge

    source = entry.get("source", {})
    kind = source.get("type", "")
    files = entry.get("files") or lock.get("metadata", {}).get("files", {}).get(entry["name"], [])
    return Locked(
        name=str(entry["name"]),
        version=str(entry["version"]),
        hashes=tuple(str(file["hash"]) for file in files),
        url=_source_url(source),
        local=str(source.get("url", "")) if kind in ("directory", "file") else "",
        index=str(source.get("url", "")) if kind == "legacy" else "",
        edges=edges,
    )


def _source_url(source: Table) -> str:
    if source.get("type") == "git":
        below = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
        return (
            git_url(str(source["url"]), str(source.get("resolved_reference") or source.get("reference") or "")) + below
        )
    return str(source["url"]) if source.get("type") == "url" else ""


def _asked(marker: str, extras: frozenset[str], entry: Table, name: str) -> bool:
    """Whether an optional dependency belongs to an extra that is wanted: by its marker, or by the ``extras`` table."""
    if "extra" in marker:
        return holds(marker, environments(""), extras) is not False
    listed = {
        normal(line.split(" ")[0].split("[")[0]) for extra in extras for line in entry.get("extras", {}).get(extra, [])
    }
    return normal(name) in listed


def _grouped(lock: Table, extras: frozenset[str], python: str) -> list[Pin]:
    """Lock 2.1 has answered the walk itself: which groups want a package, and under which marker."""
    where, pins = environments(python), []
    for entry in lock.get("package", []):
        groups = entry.get("groups", ["main"])
        marker = entry.get("markers", "")
        marker = str(marker.get("main", "")) if isinstance(marker, Mapping) else str(marker)
        verdict = holds(marker, where, extras)
        if "main" not in groups or verdict is False or (entry.get("optional") and not marker):
            continue
        pins.append(Pin(_locked(lock, entry), "" if verdict else without_extra(marker)))
    return sorted(pins, key=lambda pin: (normal(pin.package.name), pin.package.version))
