"""Everything the rules look at, read once: the tree, its manifests, its modules, and what the caller asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from karst.detect import manifests
from karst.detect.errors import DetectError
from karst.detect.facts import Facts
from karst.detect.launch import Launch
from karst.detect.manifests import Manifest
from karst.detect.modules import Modules
from karst.detect.source import version_hint
from karst.detect.tree import Tree


@dataclass(frozen=True)
class Hit:
    """A rule's answer."""

    launch: Launch
    reason: str
    evidence: str
    confidence: str = "likely"
    args_given: bool = False  # the launch brings its own arguments: a missing one is the author's business


@dataclass(frozen=True)
class Miss:
    """Why a rule has no answer."""

    why: str


Outcome = Hit | Miss


@dataclass
class Repo:
    """One repository and one question about it.

    Attributes:
        entrypoint: the list's ``entrypoint``.
        variable: the ENTRYPOINT variable, and ``variable_source`` where it is set.
        args: arguments the user gives.
        python_available: versions of the base images, like ``3.11`` or ``3.11.2``.
        name: the repository's own name, a hint like the distribution's name.
    """

    tree: Tree
    manifest: Manifest
    modules: Modules
    entrypoint: str | Sequence[str] | None = None
    variable: str | None = None
    variable_source: str = ""
    args: tuple[str, ...] = ()
    python_available: tuple[str, ...] = ("3.11",)
    name: str = ""
    notes: dict[str, list[str]] = field(default_factory=dict)
    _subprojects: list[str] | None = None

    @classmethod
    def open(cls, source: Path, **given: object) -> Repo:
        """Read the tree and its manifests. Raises DetectError when one of them cannot be read by anybody."""
        tree = Tree(source)
        manifest = manifests.read(tree)
        return cls(tree, manifest, Modules(tree, manifest), **given)  # type: ignore[arg-type]

    def facts(self, path: str) -> Facts:
        """The facts of a file that a rule has chosen. Raises DetectError when it does not parse."""
        facts = self.modules.facts(path)
        if facts.error:
            where = f"{path}:{facts.error.line}"
            raise DetectError(
                "does_not_parse",
                f"{where} does not parse as Python ({facts.error.message}), and it is what would be started",
                hint=version_hint(facts.text, facts.error),
                evidence=where,
            )
        return facts

    def note(self, rule: str, text: str) -> None:
        """Remember something for --explain and for refusals."""
        self.notes.setdefault(rule, []).append(text)

    def names(self) -> list[str]:
        """Import names that would be the project's own: of the distribution, then of the repository."""
        found: list[str] = []
        for name in (self.manifest.name, self.name):
            if name:
                found += [manifests.import_name(name), name, name.lower().replace("-", "").replace("_", "")]
        return list(dict.fromkeys(found))

    def subprojects(self) -> list[str]:
        """Folders (not tests, docs, examples) with a Python manifest of their own, the shallow ones only."""
        if self._subprojects is None:
            found = _subprojects(self.tree)
            if self.manifest.declared:  # a package of the root's own project may list its requirements apart
                found = [f for f in found if not self.tree.has(f"{f}/__init__.py") or _stands_alone(self.tree, f)]
            included = {path.rpartition("/")[0] for path in self.manifest.included}
            self._subprojects = [folder for folder in found if folder not in included]
        return self._subprojects

    def in_subproject(self, path: str) -> str:
        """The subproject a file belongs to, or ""."""
        return next((folder for folder in self.subprojects() if path.startswith(folder + "/")), "")


PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "requirements.txt")


def _subprojects(tree: Tree) -> list[str]:
    found: list[str] = []
    for path in tree.files:
        folder, _, name = path.rpartition("/")
        if name not in PROJECT_FILES or not folder or folder.count("/") > 2 or tree.secondary(f"{folder}/x.py"):
            continue
        if name == "pyproject.toml" and not _declares(tree.text(path) or ""):
            continue
        if name == "setup.cfg" and "[metadata]" not in (tree.text(path) or ""):
            continue
        if folder.rpartition("/")[2].lower() in ("requirements", "requirement", "reqs"):
            continue
        if folder in tree.python_folders:
            found.append(folder)
    unique = sorted(set(found), key=lambda folder: (folder.count("/"), folder))
    return [f for f in unique if not any(f.startswith(other + "/") for other in unique if other != f)]


def _stands_alone(tree: Tree, folder: str) -> bool:
    return any(tree.has(f"{folder}/{name}") for name in PROJECT_FILES if name != "requirements.txt")


def _declares(text: str) -> bool:
    data = manifests.toml(text)
    tool = data.get("tool")
    return bool(data.get("project") or data.get("build-system")) or (isinstance(tool, dict) and "poetry" in tool)
