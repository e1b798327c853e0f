"""What the repository declares about itself, from every manifest at its root, merged into one ``Manifest``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from karst.detect.errors import DetectError
from karst.detect.tree import Tree


@dataclass(frozen=True)
class Script:
    """One declared console script: ``name = target`` at ``evidence``."""

    name: str
    target: str  # "module:function", or a path for the script files of setup.py
    evidence: str


@dataclass(frozen=True)
class PythonSpec:
    """One declared range of Python versions."""

    spec: str
    evidence: str


@dataclass
class Manifest:
    """The declarations of one folder.

    Attributes:
        name: the distribution's name, or "".
        declared: ``file:line`` that says "this is a Python project", or "".
        distribution: True when a build backend can make an installable package of it.
        scripts: console scripts in the order of preference.
        script_files: executables that setup.py installs as they are.
        pythons: declared Python ranges.
        dependencies: normalised names, with the specifier of the first mention.
        package_roots: folders that hold the import packages ("" is the root).
        package_map: import package → folder, where they differ.
        workspace: member folders of a uv workspace.
        installable: the backend would find something to pack.
        included: requirements files that those of the root include.
        packaged: top-level names that get installed, where the manifest lists them.
        explicit_roots: package folders that the manifest names.
    """

    name: str = ""
    declared: str = ""
    distribution: bool = False
    scripts: list[Script] = field(default_factory=list)
    script_files: list[Script] = field(default_factory=list)
    pythons: list[PythonSpec] = field(default_factory=list)
    dependencies: dict[str, str] = field(default_factory=dict)
    package_roots: list[str] = field(default_factory=list)
    package_map: dict[str, str] = field(default_factory=dict)
    workspace: list[str] = field(default_factory=list)
    installable: bool = False
    included: set[str] = field(default_factory=set)
    packaged: set[str] | None = None
    explicit_roots: list[str] = field(default_factory=list)

    def depends_on(self, *names: str) -> bool:
        return any(name in self.dependencies for name in names)

    def declare(self, evidence: str) -> None:
        self.declared = self.declared or evidence

    def add_requirement(self, text: str) -> None:
        """Note one PEP 508 requirement; anything else is ignored."""
        match = _REQUIREMENT.match(text)
        if match:
            self.dependencies.setdefault(normalise(match.group(1)), match.group(3).strip())

    def add_packages(self, names: object) -> None:
        """Note an explicit list of what gets installed; anything that is not one says nothing."""
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            self.packaged = (self.packaged or set()) | {str(name).split(".")[0] for name in names}

    def installs(self, module: str, path: str) -> bool:
        """Whether a module of the tree is among what installing the project brings."""
        if self.packaged is not None and module.split(".")[0] not in self.packaged:
            return False
        if not self.explicit_roots or module.split(".")[0] in self.package_map:
            return True
        stem = module.replace(".", "/")
        folders = [f"{root}/" if root else "" for root in self.explicit_roots]
        return any(path in (f"{folder}{stem}.py", f"{folder}{stem}/__init__.py") for folder in folders)

    def add_root(self, folder: object) -> None:
        if isinstance(folder, str):
            clean = folder.strip().strip("/").removeprefix("./")
            clean = "" if clean == "." else clean
            if clean not in self.package_roots and ".." not in clean:
                self.package_roots.append(clean)


_REQUIREMENT = re.compile(r"\A\s*([A-Za-z0-9][A-Za-z0-9._-]{0,100})\s*(\[[^\]]{0,200}\])?\s*([^;#@]{0,200})")
_INCLUDE = re.compile(r"\A-(?:r|-requirement)[ =]+(\S+)\s*\Z")


def normalise(name: str) -> str:
    """The PEP 503 form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def import_name(name: str) -> str:
    """The usual import package of a distribution."""
    return normalise(name).replace("-", "_")


def line_of(text: str, needle: str, start: int = 1) -> int:
    """The first line from ``start`` that contains ``needle``; ``start`` when none does."""
    for number, line in enumerate(text.splitlines(), 1):
        if number >= start and needle in line:
            return number
    return start


def read(tree: Tree) -> Manifest:
    """Read every manifest at the tree's root.

    Raises DetectError (does_not_parse) for a pyproject.toml that is not TOML and is all there is.
    """
    from karst.detect import pyproject, setuptools_files

    found = Manifest()
    others = [*requirement_files(tree), *(name for name in ("setup.py", "setup.cfg", "Pipfile") if tree.has(name))]
    try:
        pyproject.read(tree, found)
    except DetectError:
        if not others:  # with another manifest the broken one holds no more than settings of tools, for all we know
            raise
    setuptools_files.read_cfg(tree, found)
    setuptools_files.read_py(tree, found)
    _pipfile(tree, found)
    _conda(tree, found)
    for path in requirement_files(tree):
        found.declare(f"{path}:1")
        _requirements(tree, path, found, found.included)
    found.explicit_roots = list(found.package_roots)
    for root in ("", "src", "lib", "python"):
        if not root or (tree.is_folder(root) and not tree.has(f"{root}/__init__.py")):
            found.add_root(root)
    if found.name:
        tree.own.update({import_name(found.name), found.name, found.name.lower()})
    found.installable = found.distribution and _packages_exist(tree, found)
    return found


def requirement_files(tree: Tree, folder: str = "") -> list[str]:
    """The requirements files of a folder, the plain one first, without those for tests and docs."""
    prefix = f"{folder}/" if folder else ""
    names = [path[len(prefix) :] for path in tree.files if path.startswith(prefix)]
    plain = [
        name for name in names if "/" not in name and re.fullmatch(r"(?i)requirements?([-_.]\w+)*\.(txt|in)", name)
    ]
    nested = [name for name in names if re.fullmatch(r"(?i)requirements/[\w.-]+\.(txt|in)", name)]
    chores = re.compile(r"(?i)dev|test|doc|lint|ci\b|build|release|type|example")
    kept = [name for name in (*plain, *nested) if not chores.search(name)]
    return [prefix + name for name in sorted(kept, key=lambda name: (name.lower() != "requirements.txt", name))]


def _requirements(tree: Tree, path: str, found: Manifest, seen: set[str]) -> None:
    if path in seen or len(seen) > 30:
        return
    seen.add(path)
    folder = path.rpartition("/")[0]
    for line in (tree.text(path) or "").splitlines()[:5000]:
        line = line.strip()
        include = _INCLUDE.match(line)
        if include:
            parts = [part for part in f"{folder}/{include.group(1)}".split("/") if part not in ("", ".")]
            while ".." in parts:
                at = parts.index("..")
                del parts[max(at - 1, 0) : at + 1]
            _requirements(tree, "/".join(parts), found, seen)
        elif line and not line.startswith(("#", "-")):
            found.add_requirement(line)


def _pipfile(tree: Tree, found: Manifest) -> None:
    text = tree.text("Pipfile")
    if text is None:
        return
    found.declare("Pipfile:1")
    data = toml(text)
    packages = data.get("packages")
    if isinstance(packages, dict):
        for name, spec in packages.items():
            found.add_requirement(f"{name} {spec}" if isinstance(spec, str) and spec != "*" else name)
    requires = data.get("requires")
    if isinstance(requires, dict):
        version = requires.get("python_full_version") or requires.get("python_version")
        if isinstance(version, str) and re.fullmatch(r"\d+(\.\d+){0,2}", version):
            # Pipenv warns and goes on with another version: a wish, which only chooses among what there is.
            found.pythons.append(PythonSpec(f"~={version}" if version.count(".") > 1 else f"=={version}.*", "wish"))


def _conda(tree: Tree, found: Manifest) -> None:
    for path in ("environment.yml", "environment.yaml"):
        text = tree.text(path)
        if text and "dependencies" in text:
            found.declare(f"{path}:{line_of(text, 'dependencies')}")
            for line in text.splitlines()[:2000]:
                match = re.match(r"\A\s*-\s*([A-Za-z][\w.-]*)", line)
                if match:
                    found.add_requirement(match.group(1))


def toml(text: str) -> dict[str, object]:
    """A TOML document, or {} when it is not one."""
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def _packages_exist(tree: Tree, found: Manifest) -> bool:
    """A backend needs something to pack: the named package, or one that its own discovery finds."""
    if found.package_map or any(root for root in found.package_roots if root not in ("lib", "python")):
        return True
    base = import_name(found.name) if found.name else ""
    if base and (tree.is_folder(base) or tree.has(f"{base}.py")):
        return True
    tops = [name for name in tree.children("") if tree.has(f"{name}/__init__.py") and not tree.secondary(f"{name}/x")]
    return bool(tops) or any(
        script.target.split(":")[0].split(".")[0] + ".py" in tree.files for script in found.scripts
    )
