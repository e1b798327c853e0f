"""From the packages of a foreign lock file to a requirements file with versions, markers and hashes kept.

uv reads its own lock and ``pylock.toml``. For poetry, PDM and Pipenv the pinned entries are written out here, at render
time, by reading alone. What a lock holds for development, for other platforms or for extras nobody asked for is left
out by walking from the project's own requirements, as the tools themselves do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from karst.deps.pep508 import both, environments, holds, normal, satisfies, without_extra

Paths = frozenset[frozenset[str]]
ALWAYS: Paths = frozenset({frozenset()})
# More ways than this to reach one package: it is installed without a condition, on Linux that has always been right.
MAX_PATHS = 12


@dataclass(frozen=True)
class Edge:
    """``name[extras] constraint ; marker`` as one package or the project asks for it."""

    name: str
    constraint: str = ""
    extras: frozenset[str] = frozenset()
    marker: str = ""


@dataclass(frozen=True)
class Locked:
    """One package of a lock file.

    Attributes:
        url: for a package that does not come from an index: a PEP 508 URL (``git+https://…@<commit>``).
        local: for a package inside the repository: its folder or file, relative to the lock.
        edges: what it asks for, given the extras it is wanted with.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    url: str = ""
    local: str = ""
    index: str = ""
    edges: Callable[[frozenset[str]], Iterable[Edge]] = field(default=lambda extras: ())


@dataclass(frozen=True)
class Pin:
    """One line of the result: a package and the condition under which it is wanted."""

    package: Locked
    marker: str = ""


def walk(roots: Iterable[Edge], packages: Iterable[Locked], python: str) -> list[Pin]:
    """Every package reachable from ``roots``, each with the condition under which it is.

    Conditions that Linux and the image's Python decide are decided here; the rest (the processor, the patch level)
    stays as a marker.
    """
    by_name: dict[str, list[Locked]] = {}
    for package in packages:
        by_name.setdefault(normal(package.name), []).append(package)
    where = environments(python)
    reached: dict[tuple[str, str], Paths] = {}
    extras: dict[str, frozenset[str]] = {}
    found: dict[tuple[str, str], Locked] = {}
    queue: deque[tuple[Edge, Paths]] = deque((edge, ALWAYS) for edge in roots)
    while queue:
        edge, paths = queue.popleft()
        verdict = holds(edge.marker, where)
        if verdict is False:
            continue
        if verdict is None:
            atom = without_extra(edge.marker)
            paths = frozenset(path | {atom} for path in paths) if atom else paths
        name = normal(edge.name)
        wanted = extras.get(name, frozenset()) | edge.extras
        grown = wanted != extras.get(name)
        extras[name] = wanted
        for package in choose(by_name.get(name, []), edge.constraint):
            key = (name, package.version + package.url)
            merged = absorb(reached.get(key, frozenset()) | paths)
            if merged == reached.get(key) and not grown:
                continue
            reached[key], found[key] = merged, package
            queue.extend((child, merged) for child in package.edges(wanted))
    return [Pin(found[key], condition(reached[key])) for key in sorted(found)]


def choose(candidates: list[Locked], constraint: str) -> list[Locked]:
    """The locked versions that an edge means: the only one there is, else those inside its constraint."""
    if len(candidates) < 2:
        return candidates
    return [package for package in candidates if satisfies(package.version, constraint)] or candidates


def absorb(paths: Paths) -> Paths:
    """Drop every path that another one includes; too many to be worth telling apart mean "always"."""
    kept = frozenset(path for path in paths if not any(other < path for other in paths))
    return ALWAYS if len(kept) > MAX_PATHS else kept


def condition(paths: Paths) -> str:
    """The marker of a set of paths: one of them, all parts of it."""
    if frozenset() in paths:
        return ""
    texts = sorted(both(*sorted(path)) for path in paths)
    return texts[0] if len(texts) == 1 else " or ".join(f"({text})" if " and " in text else text for text in texts)


def requirements(pins: Iterable[Pin]) -> str:
    """The pins as a requirements file: one package after another, sorted, its hashes below it."""
    lines = []
    for pin in pins:
        package = pin.package
        head = f"{package.name} @ {package.url}" if package.url else f"{package.name}=={package.version}"
        if pin.marker:
            head += f" ; {pin.marker}"
        hashes = [] if package.url else sorted(set(package.hashes))
        lines.append(" \\\n".join([head, *(f"    --hash={digest}" for digest in hashes)]))
    return "".join(line + "\n" for line in lines)


def indexes(pins: Iterable[Pin]) -> list[str]:
    """Indexes besides the default one that the pins name, sorted."""
    return sorted({pin.package.index for pin in pins if pin.package.index})
