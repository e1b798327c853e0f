"""From the packages of a foreign lock file to a requirements file with versions, markers and hashes kept.

uv reads its own lock and ``pylock.toml``. For poetry, PDM and Pipenv the pinned entries are written out here, at render
time, by reading alone. What a lock holds for development, for other platforms or for extras nobody asked for is left
out by walking from the project's own requirements, as the tools themselves do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from packaging.version import Version

from karst.deps.pep508 import both, environments, holds, normal, satisfies, valid_version, without_extra

Paths = frozenset[frozenset[str]]
ALWAYS: Paths = frozenset({frozenset()})
# More ways than this to reach one package: it is installed without a condition, on Linux that has always been right.
MAX_PATHS = 12
PYPI = "https://pypi.org/simple"


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
    walked = _Walk(packages, python)
    walked.follow((edge, ALWAYS) for edge in roots)
    pins = [Pin(walked.found[key], condition(walked.reached[key])) for key in sorted(walked.found)]
    newest = {
        normal(pin.package.name): pin for pin in sorted(pins, key=lambda pin: _sortable(pin.package)) if not pin.marker
    }
    return [pin for pin in pins if pin.marker or newest[normal(pin.package.name)] is pin]


class _Walk:
    """The state of a walk: what was reached, how, and with which extras."""

    def __init__(self, packages: Iterable[Locked], python: str) -> None:
        self.by_name: dict[str, list[Locked]] = {}
        for package in packages:
            self.by_name.setdefault(normal(package.name), []).append(package)
        self.where = environments(python)
        self.reached: dict[tuple[str, str], Paths] = {}
        self.found: dict[tuple[str, str], Locked] = {}
        self.extras: dict[str, frozenset[str]] = {}
        self.queue: deque[tuple[Edge, Paths]] = deque()

    def follow(self, edges: Iterable[tuple[Edge, Paths]]) -> None:
        """Follow edges to the end. An edge that fits several locked versions waits until others have said which."""
        self.queue.extend(edges)
        waiting: list[tuple[Edge, Paths]] = []
        while self.queue or waiting:
            if not self.queue:
                waiting.sort(key=lambda item: not item[0].marker)
                self._decide(*waiting.pop(0))
                continue
            edge, paths = self.queue.popleft()
            verdict = holds(edge.marker, self.where)
            if verdict is False:
                continue
            atom = without_extra(edge.marker) if verdict is None else ""
            paths = frozenset(path | {atom} for path in paths) if atom else paths
            candidates = choose(self.by_name.get(normal(edge.name), []), edge.constraint)
            if len(candidates) > 1:
                waiting.append((edge, paths))
            elif candidates:
                self._reach(edge, candidates[0], paths)

    def _decide(self, edge: Edge, paths: Paths) -> None:
        """An edge of its own condition has a version of its own, the newest that fits; others take what is there."""
        candidates = choose(self.by_name[normal(edge.name)], edge.constraint)
        there = [package for package in candidates if _key(package) in self.reached and not edge.marker]
        if len(there) > 1:
            for package in there:
                self._reach(edge, package, self.reached[_key(package)])
        else:
            self._reach(edge, there[0] if there else max(candidates, key=_sortable), paths)

    def _reach(self, edge: Edge, package: Locked, paths: Paths) -> None:
        name, key = normal(edge.name), _key(package)
        wanted = self.extras.get(name, frozenset()) | edge.extras
        grown = wanted != self.extras.get(name)
        self.extras[name] = wanted
        merged = absorb(self.reached.get(key, frozenset()) | paths)
        if merged != self.reached.get(key) or grown:
            self.reached[key], self.found[key] = merged, package
            self.queue.extend((child, merged) for child in package.edges(wanted))


def _key(package: Locked) -> tuple[str, str]:
    return normal(package.name), package.version + package.url


def _sortable(package: Locked) -> Version:
    return Version(valid_version(package.version) or "0")


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
    """Indexes besides PyPI that the pins name, sorted."""
    found = {pin.package.index for pin in pins if pin.package.index.startswith(("https://", "http://"))}
    return sorted(index for index in found if index.rstrip("/") != PYPI)
