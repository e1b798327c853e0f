"""pdm.lock as pins. Source of the format: PDM's documentation of lock strategies and ``pdm/formats``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from karst.deps.lockfile import Edge, Locked, Pin, walk
from karst.deps.pep508 import environments, holds, normal, parse, without_extra
from karst.deps.poetry import git_url

Table = Mapping[str, Any]


def lock_pins(lock: Table, project: Table, extras: frozenset[str], python: str) -> list[Pin]:
    """What ``pdm install --prod`` (with ``extras`` as groups) would install, with the lock's hashes."""
    entries = lock.get("package", [])
    if "inherit_metadata" in lock.get("metadata", {}).get("strategy", []):
        where = environments(python)
        pins: dict[tuple[str, str], Pin] = {}
        for entry in entries:
            marker = str(entry.get("marker", ""))
            wanted = {"default", *extras} & set(entry.get("groups", ["default"]))
            verdict = holds(marker, where, extras)
            if wanted and verdict is not False:
                # An entry with extras repeats the plain one; the plain one holds version and hashes of both.
                key = (normal(entry["name"]), str(entry.get("version", "")))
                pins.setdefault(key, Pin(_locked([entry]), "" if verdict else without_extra(marker)))
        return [pins[key] for key in sorted(pins)]
    lists = [project.get("dependencies", [])]
    lists += [project.get("optional-dependencies", {}).get(extra, []) for extra in sorted(extras)]
    grouped: dict[tuple[str, str], list[Table]] = {}
    for entry in entries:
        grouped.setdefault((normal(entry["name"]), str(entry.get("version", ""))), []).append(entry)
    return walk(_edges(line for group in lists for line in group), map(_locked, grouped.values()), python)


def _edges(lines: Iterable[Any]) -> list[Edge]:
    found = (parse(str(line)) for line in lines)
    return [
        Edge(item.name, str(item.specifier), frozenset(item.extras), str(item.marker or ""))
        for item in found
        if item is not None
    ]


def _locked(entries: list[Table]) -> Locked:
    """One package from its entries: the plain one, and one for each set of extras it was locked with."""
    entry = entries[0]

    def edges(extras: frozenset[str]) -> Iterable[Edge]:
        asked = {normal(extra) for extra in extras}
        for variant in entries:
            if {normal(extra) for extra in variant.get("extras", [])} <= asked:
                for edge in _edges(variant.get("dependencies", [])):
                    if normal(edge.name) != normal(entry["name"]):
                        yield edge

    url = ""
    if entry.get("git"):
        below = f"#subdirectory={entry['subdirectory']}" if entry.get("subdirectory") else ""
        url = git_url(str(entry["git"]), str(entry.get("revision") or entry.get("ref") or "")) + below
    elif entry.get("url"):
        url = str(entry["url"])
    return Locked(
        name=str(entry["name"]),
        version=str(entry.get("version", "")),
        hashes=tuple(str(file["hash"]) for variant in entries for file in variant.get("files", [])),
        url=url,
        local=str(entry.get("path", "")),
        edges=edges,
    )
