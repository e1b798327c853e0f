"""From dotted names to files of the tree and back, with the facts of each file read once."""

from __future__ import annotations

import sys
from typing import cast

from karst.detect.facts import Facts, read
from karst.detect.manifests import Manifest
from karst.detect.tree import Tree

MAX_PARSED = 2500  # files parsed for one answer
_COMPILED = (".pyx", ".so", ".pyd", ".c", ".cpp", ".rs")


class Modules:
    """The import packages of a tree."""

    def __init__(self, tree: Tree, manifest: Manifest) -> None:
        self.tree = tree
        self.manifest = manifest
        self._facts: dict[str, Facts] = {}
        self._roots: dict[str, str] = {}
        self.memo: dict[tuple[str, ...], object] = {}  # answers of functions that ask each other round in circles

    def facts(self, path: str) -> Facts:
        """The facts of a file; empty ones when it is no text, or when too many files were parsed already."""
        if path not in self._facts:
            text = self.tree.text(path) if len(self._facts) < MAX_PARSED else None
            self._facts[path] = Facts(path) if text is None else read(path, text)
        return self._facts[path]

    def find(self, dotted: str, root: str | None = None) -> str | None:
        """The file of a module: ``pkg/mod.py`` or ``pkg/mod/__init__.py`` below one of the package roots."""
        if not dotted or not all(part for part in dotted.split(".")):
            return None
        roots = self.manifest.package_roots if root is None else [root]
        top, _, rest = dotted.partition(".")
        if top in self.manifest.package_map and root is None:
            base = self.manifest.package_map[top]
            found = self._file(f"{base}/{rest.replace('.', '/')}" if rest else base)
            if found:
                return found
        for folder in roots:
            found = self._file(_join(folder, dotted.replace(".", "/")))
            if found:
                return found
        return None

    def _file(self, stem: str) -> str | None:
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if self.tree.has(path):
                return path
        return None

    def exists(self, dotted: str) -> bool:
        """True when the module is in the tree: source, a package without ``__init__``, or something to compile."""
        if self.find(dotted):
            return True
        stem = dotted.replace(".", "/")
        for folder in [*self.manifest.package_roots, *self.manifest.package_map.values()]:
            base = _join(folder, stem)
            if any(self.tree.has(base + suffix) for suffix in _COMPILED):
                return True
            if base in self.tree.python_folders:
                return True
        return False

    def anywhere(self, dotted: str) -> str | None:
        """The one file below any folder whose path ends like the module's, for unusual package folders."""
        stem = dotted.replace(".", "/")
        ends = (f"/{stem}.py", f"/{stem}/__init__.py")
        found = [path for path in self.tree.files if path.endswith(ends) and not self.tree.secondary(path)]
        return found[0] if len(found) == 1 else None

    def relative(self, path: str, level: int, base: str) -> str | None:
        """The file that ``from ..base import`` in ``path`` means."""
        folders = path.split("/")[:-1]
        if level - 1 > len(folders):
            return None
        folders = folders[: len(folders) - (level - 1)]
        stem = "/".join([*folders, *(base.split(".") if base else [])])
        return self._file(stem) if base else (f"{stem}/__init__.py" if self.tree.has(f"{stem}/__init__.py") else None)

    def imported_from(self, facts: Facts, name: str) -> tuple[str, str] | None:
        """Where a name of a module comes from: (file in the tree, name there), or None for other packages."""
        if name in facts.relative_names:
            level, base, original = facts.relative_names[name]
            inner = self.relative(facts.path, level, f"{base}.{original}" if base else original)
            outer = self.relative(facts.path, level, base)
            if inner and not (outer and original in self.facts(outer).functions):
                return inner, ""
            return (outer, original) if outer else None
        dotted = facts.names.get(name, "")
        if not dotted:
            return None
        return self.locate(facts, dotted)

    def locate(self, facts: Facts, dotted: str) -> tuple[str, str] | None:
        """Split ``pkg.mod.name`` into a file of the tree and the name in it; "" when it is the module itself."""
        roots = [*self.manifest.package_roots, facts.path.rpartition("/")[0]]
        for root in dict.fromkeys(roots):
            whole = self.find(dotted, root)
            if whole:
                return whole, ""
            parent, _, last = dotted.rpartition(".")
            inside = self.find(parent, root) if parent else None
            if inside:
                return inside, last
        return None

    def import_root(self, path: str) -> str:
        """The folder that must be on the import path: the one below which most imports of the program are found.

        Not only the file's own imports count but those of the files it brings in as well: a module with nothing but
        relative imports has neighbours that tell where the program's root is.
        """
        folder = path.rpartition("/")[0]
        if not folder:
            return ""
        if path not in self._roots:
            self._roots[path] = self._import_root(path, folder)
        return self._roots[path]

    def _import_root(self, path: str, folder: str) -> str:
        above = [folder]
        while above[-1]:
            above.append(above[-1].rpartition("/")[0])
        levels = [level for level, _, _ in self.facts(path).relative_names.values()]
        above = above[min(max(levels, default=0), len(above) - 1) :]  # ``from ..x`` needs two folders above the file
        top = folder
        while top and self.tree.has(f"{top}/__init__.py"):
            top = top.rpartition("/")[0]
        closure = self._closure(path, above)
        scores = {root: sum(self._local(file, root) for file in closure) for root in above}
        best = max(scores.values())
        if best == 0:
            if top in above and top != folder:
                return top
            return "" if _dotted_ok(path, "") else above[0]
        winners = [root for root in above if scores[root] == best]
        # Inside a package the folder above it is the natural root, in a plain folder that folder itself.
        return top if top in winners else winners[0]

    def closure(self, path: str) -> list[str]:
        """The file and those of the tree that it imports, directly or not (up to 40)."""
        return self._closure(path, [self.import_root(path), path.rpartition("/")[0]])

    def _closure(self, path: str, roots: list[str]) -> list[str]:
        """The file and those of the tree it brings in, whichever of the roots is the right one."""
        found, queue = [path], [path]
        while queue and len(found) < 40:
            facts = self.facts(queue.pop(0))
            near: list[str | None] = []
            for level, base, name in facts.relative_names.values():
                near.append(self.relative(facts.path, level, f"{base}.{name}" if base else name))
                near.append(self.relative(facts.path, level, base))
            near += [self.find(name, root) for name in facts.imported for root in roots]
            for other in near:
                if other and other not in found:
                    found.append(other)
                    queue.append(other)
        return found[:40]

    def needs_root(self, path: str, root: str) -> bool:
        """True when ``python path`` would not do: it is in a package, or its folder gives it wrong imports."""
        folder = path.rpartition("/")[0]
        if root == folder:
            return False
        closure = self._closure(path, [root, folder])
        here, there = (sum(self._local(file, base) for file in closure) for base in (folder, root))
        if self.tree.has(f"{folder}/__init__.py") or there > here:
            return True
        # Run as a file it would import its neighbours instead of Python's own modules of the same names.
        prefix = folder + "/"
        stems = {p[len(prefix) : -3] for p in self.tree.files if p.startswith(prefix) and p.endswith(".py")}
        return not sys.stdlib_module_names.isdisjoint(stems)

    def _local(self, path: str, root: str) -> int:
        """How many imports of the file are found below ``root`` and nowhere else in Python's own library."""
        key = ("local", path, root)
        if key not in self.memo:
            count = 0
            for name in self.facts(path).imported:
                top = name.split(".")[0]
                if not top or top in sys.stdlib_module_names or _join(root, top) + ".py" == path:
                    continue
                if self.find(top, root) or _join(root, top) in self.tree.python_folders:
                    count += 1
            self.memo[key] = count
        return cast(int, self.memo[key])

    def dotted(self, path: str, root: str | None = None) -> str:
        """The module name of a file seen from its import root; "" when a folder on the way is no identifier."""
        base = self.import_root(path) if root is None else root
        inner = path[len(base) + 1 :] if base else path
        parts = inner.removesuffix(".py").split("/")
        if parts[-1] in ("__init__", "__main__") and len(parts) > 1:
            parts.pop()
        return ".".join(parts) if all(part.isidentifier() for part in parts) else ""


def _join(folder: str, rest: str) -> str:
    return f"{folder}/{rest}" if folder else rest


def _dotted_ok(path: str, root: str) -> bool:
    inner = path[len(root) + 1 :] if root else path
    return all(part.isidentifier() for part in inner.removesuffix(".py").split("/"))
