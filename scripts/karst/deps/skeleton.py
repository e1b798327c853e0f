"""The few files that an editable install really reads, so that it happens before the source is copied.

An editable install of a pure-Python project is a path file, the metadata and the scripts. It depends on the manifests,
on which folders there are and on the file that holds the version, not on the code: with these files alone it gives the
same result, and a changed line of code then costs one COPY. Where that is not certain (build hooks, extensions, a
setup.py that computes, versions from git) there is no skeleton, and the install waits for the source.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karst.deps.tree import Tree

# Path → None for a copy of the real file, "" or a text for a stand-in.
Skeleton = dict[str, str | None]

PURE = ("setuptools", "hatchling", "poetry.core", "pdm.backend", "flit_core", "uv_build")
# What in a manifest makes the result depend on more than names: hooks, compiled modules, files shipped besides.
NOT_PURE = re.compile(
    r"hooks?\b|force-include|shared-|extra-metadata|ext-modules|ext_modules|cmdclass|custom|run-setuptools"
    r"|write_to|version_file|version-file|build\.py|\[tool\.poetry\.build\]|^build\s*=|data-files|data_files|backend-path",
    re.M,
)
MAX_FOLDERS = 400
MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "uv.lock", "uv.toml", "MANIFEST.in", "PKG-INFO", "hatch.toml")
SKIPPED = frozenset({"node_modules", "__pycache__", "venv", ".venv"})


def of(tree: Tree, *, told_version: bool = False) -> Skeleton | None:
    """The skeleton of the project at the root, or None when the install has to wait for the source.

    ``told_version``: the version that the backend would ask git for is in the environment (see ``versions.pretend``).
    """
    pyproject = tree.toml("pyproject.toml")
    backend = str(pyproject.get("build-system", {}).get("build-backend", "setuptools.build_meta"))
    requires = pyproject.get("build-system", {}).get("requires", [])
    text = "".join(tree.text(name) or "" for name in ("pyproject.toml", "setup.cfg", "hatch.toml"))
    if not backend.startswith(PURE) or NOT_PURE.search(text) or len(requires) > 3 or _local_sources(pyproject):
        return None
    if tree.is_file("setup.py") and not _trivial(tree.text("setup.py") or ""):
        return None
    if any(tree.is_file(name) for name in ("pdm_build.py", "hatch_build.py", "build.py")):
        return None
    files = _shape(tree)
    if files is None:
        return None
    versions = _version_files(tree, pyproject, backend, told_version=told_version)
    if versions is None:
        return None
    for name in tree.names():
        if re.match(r"(licen[cs]e|copying|notice|authors)", name, re.I) and tree.is_file(name):
            files[name] = None
    for name in [*MANIFESTS, *versions, *_named_files(pyproject)]:
        if tree.is_file(name):
            files[name] = None
    for name in _readmes(tree, pyproject):
        files[name] = "See the source.\n"
    return files


def _local_sources(pyproject: Mapping[str, Any]) -> bool:
    """Whether uv is told to take anything from a folder of the repository."""
    table = pyproject.get("tool", {}).get("uv", {})
    return "workspace" in table or bool({"path", "workspace"} & set(str(table.get("sources", "")).split("'")))


def _trivial(source: str) -> bool:
    """``from setuptools import setup; setup()`` and nothing else."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return False
    for node in body:
        if isinstance(node, ast.If):
            body.extend(node.body)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            if node.value.args or node.value.keywords or not ast.unparse(node.value.func).endswith("setup"):
                return False
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or node.names[0].name]
            if not all(name.split(".")[0] in ("setuptools", "distutils", "__future__") for name in names):
                return False
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return False
    return True


def _shape(tree: Tree) -> Skeleton | None:
    """Which folders there are, with ``__init__.py`` where they have one; root modules by name. No content.

    Folders without Python count too: setuptools takes them for namespace packages.
    """
    files: Skeleton = {}
    root = tree.root
    for count, (folder, names, leaves) in enumerate(os.walk(root)):
        here = Path(folder).relative_to(root)
        names[:] = sorted(
            n for n in names if not n.startswith(".") and n not in SKIPPED and not n.endswith(".egg-info")
        )
        modules = sorted(leaf for leaf in leaves if leaf.endswith((".py", ".pyi")))
        if count >= MAX_FOLDERS:
            return None
        if here == Path("."):
            kept = modules
        else:
            kept = ["__init__.py"] if "__init__.py" in modules else modules[:1] or [".keep"]
        files |= {(here / name).as_posix(): "" for name in kept}
    files.pop("setup.py", None)
    return files


def _version_files(tree: Tree, pyproject: Mapping[str, Any], backend: str, *, told_version: bool) -> list[str] | None:
    """Files that the backend reads the version from; None when it would have to import code."""
    tool = pyproject.get("tool", {})
    found: list[str] = []
    if backend.startswith("flit_core"):
        name = str(tool.get("flit", {}).get("module", {}).get("name") or pyproject.get("project", {}).get("name", ""))
        name = name.replace("-", "_").replace(".", "/")
        found += [f"{prefix}{name}{end}" for prefix in ("", "src/") for end in (".py", "/__init__.py")]
    for table in (tool.get("hatch", {}).get("version", {}), tool.get("pdm", {}).get("version", {})):
        if isinstance(table, Mapping):
            if table.get("source") not in (None, "regex", "file") and not (
                told_version and table.get("source") in ("vcs", "scm", "uv-dynamic-versioning")
            ):
                return None
            if table.get("path"):
                found.append(str(table["path"]))
    parser = tree.ini("setup.cfg")
    attributes = [parser.get("metadata", "version", fallback="")] if parser.has_section("metadata") else []
    dynamic = tool.get("setuptools", {}).get("dynamic", {}).get("version", {})
    if isinstance(dynamic, Mapping) and dynamic.get("attr"):
        attributes.append(f"attr: {dynamic['attr']}")
    for text in attributes:
        if text.startswith("attr:"):
            path = _literal_attribute(tree, text[5:].strip())
            if path is None:
                return None
            found.append(path)
    return found


def _literal_attribute(tree: Tree, attribute: str) -> str | None:
    """The file in which ``package.module.name`` is a literal: setuptools then reads it without an import."""
    module, _, name = attribute.rpartition(".")
    stem = module.replace(".", "/")
    for path in (f"{p}{stem}{end}" for p in ("", "src/") for end in ("/__init__.py", ".py")):
        try:
            body = ast.parse(tree.text(path) or "").body
        except (SyntaxError, ValueError):
            return None
        for node in body:
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target] if isinstance(node, ast.AnnAssign) else []
            )
            named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
            if named and isinstance(getattr(node, "value", None), ast.Constant | ast.Tuple):
                return path
    return None


def _named_files(pyproject: Mapping[str, Any]) -> list[str]:
    """Files that setuptools' dynamic fields read (requirements, a VERSION file)."""
    dynamic = pyproject.get("tool", {}).get("setuptools", {}).get("dynamic", {})
    tables = (
        [*dynamic.values(), *dynamic.get("optional-dependencies", {}).values()] if isinstance(dynamic, Mapping) else []
    )
    names: list[str] = []
    for table in tables:
        value = table.get("file", []) if isinstance(table, Mapping) else []
        names += [str(name) for name in (value if isinstance(value, list) else [value])]
    return names


def _readmes(tree: Tree, pyproject: Mapping[str, Any]) -> list[str]:
    """Every readme by name: backends want it to be there, and nothing at run time reads what they copy of it."""
    found = [name for name in tree.names() if re.match(r"(readme|changelog|changes|history|description)\b", name, re.I)]
    for table in (pyproject.get("project", {}), pyproject.get("tool", {}).get("poetry", {})):
        readme = table.get("readme")
        readme = readme.get("file") if isinstance(readme, Mapping) else readme
        found += [str(name) for name in (readme if isinstance(readme, list) else [readme]) if name]
    return sorted({name for name in found if tree.is_file(name)})
