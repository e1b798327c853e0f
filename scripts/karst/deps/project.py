"""What a repository's own metadata says about the project: whether and how it is installed, and what it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from karst.deps import poetry, setup_static, versions
from karst.deps.extras import lines as lines_of
from karst.deps.tree import Tree

# Backends whose editable install is a path file or a finder: what the project's own developers run. The source stays
# where it is, so data files that the packaging forgot are found. The others (meson-python, scikit-build) compile.
EDITABLE = (
    "setuptools",
    "hatchling",
    "poetry.core",
    "poetry.masonry",
    "pdm.backend",
    "flit_core",
    "uv_build",
    "flit_scm",
)
# Tables of [tool.uv] that change what a bare list of requirements would install.
UV_TABLES = ("sources", "index", "index-url", "extra-index-url", "find-links", "override-dependencies", "no-index")


@dataclass(frozen=True)
class Project:
    """The facts.

    Attributes:
        installable: the project can be built (a build system, or setup.py/setup.cfg).
        editable: its backend installs as a path, see ``EDITABLE``.
        requires: its requirements, None when only building tells.
        uv_native: ``[tool.uv]`` says where some of them come from, so uv must read pyproject.toml itself.
        local: folders that its requirements point to.
        scripts: console scripts, name → ``module:function [extras]``.
    """

    name: str = ""
    version: str = ""
    installable: bool = False
    editable: bool = True
    requires: list[str] | None = None
    optional: dict[str, list[str]] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    build_requires: tuple[str, ...] = ()
    uv_native: bool = False
    local: tuple[str, ...] = ()
    has_metadata: bool = False
    evidence: str = ""


def read(tree: Tree, extras: frozenset[str] = frozenset()) -> Project:
    """Read pyproject.toml, setup.cfg and setup.py; nothing of them is run."""
    pyproject = tree.toml("pyproject.toml")
    setup = setup_static.read(tree)
    has_setup = tree.is_file("setup.py") or tree.ini("setup.cfg").has_section("metadata")
    table = pyproject.get("project", {})
    tool = pyproject.get("tool", {})
    build = pyproject.get("build-system", {})
    requires, local = _requires(tree, pyproject, setup, extras)
    scripts = {**_setup_scripts(setup.scripts), **tool.get("poetry", {}).get("scripts", {}), **table.get("scripts", {})}
    described = bool(table or tool.get("poetry") or tool.get("flit") or has_setup)
    return Project(
        name=str(table.get("name") or tool.get("poetry", {}).get("name") or setup.name or ""),
        version=versions.static_version(pyproject) or setup.version or versions.from_pkg_info(tree),
        installable=described and _installable(pyproject, has_setup),
        editable=_editable(build),
        requires=requires,
        optional={**setup.extras, **tool.get("poetry", {}).get("extras", {}), **table.get("optional-dependencies", {})},
        scripts={name: target for name, target in scripts.items() if isinstance(target, str)},
        build_requires=_build_requires(pyproject, setup),
        uv_native=any(key in tool.get("uv", {}) for key in UV_TABLES),
        local=tuple(local),
        has_metadata=described,
        evidence=_evidence(tree, bool(table or tool.get("poetry") or tool.get("flit"))),
    )


def _evidence(tree: Tree, pyproject: bool) -> str:
    if pyproject:
        return "pyproject.toml"
    return "setup.py" if tree.is_file("setup.py") else "setup.cfg"


def _installable(pyproject: Mapping[str, Any], has_setup: bool) -> bool:
    """A [project] table alone does not make a package: uv and Poetry have a word for that, and so have most people."""
    tool = pyproject.get("tool", {})
    if tool.get("poetry", {}).get("package-mode") is False or tool.get("uv", {}).get("package") is False:
        return False
    if tool.get("pdm", {}).get("distribution") is False:
        return False
    return bool(pyproject.get("build-system")) or has_setup or tool.get("uv", {}).get("package") is True


def _editable(build: Mapping[str, Any]) -> bool:
    backend = str(build.get("build-backend", "setuptools"))
    requires = [str(line).replace(" ", "") for line in build.get("requires", [])]
    # PEP 660 came with setuptools 64, flit_core 3.4 and poetry-core 1.0.8; older pins cannot do it.
    old = any(
        re.match(r"(setuptools[^,]*(<|==)\s*=?(\d|[1-5]\d|6[0-3])(\.|,|$)|flit_core.*<3(\.|,|$))", line)
        for line in requires
    )
    return backend.startswith(EDITABLE) and not old and "backend-path" not in build


def _requires(
    tree: Tree, pyproject: Mapping[str, Any], setup: setup_static.SetupFacts, extras: frozenset[str]
) -> tuple[list[str] | None, list[str]]:
    table, tool = pyproject.get("project", {}), pyproject.get("tool", {})
    if table and "dependencies" not in table.get("dynamic", []):
        lines = [str(line) for line in table.get("dependencies", [])]
        if tool.get("poetry", {}).get("dependencies") and not lines:
            return poetry.requirement_lines(pyproject, extras)
        return lines + lines_of(table.get("optional-dependencies", {}), extras, str(table.get("name", ""))), []
    if tool.get("poetry", {}).get("dependencies"):
        return poetry.requirement_lines(pyproject, extras)
    if tool.get("flit", {}).get("metadata"):
        return [str(line) for line in tool["flit"]["metadata"].get("requires", [])], []
    if table:
        dynamic = tool.get("setuptools", {}).get("dynamic", {}).get("dependencies", {})
        if isinstance(dynamic, Mapping) and dynamic.get("file"):
            files = dynamic["file"] if isinstance(dynamic["file"], list) else [dynamic["file"]]
            texts = [tree.text(str(name)) for name in files]
            if all(text is not None for text in texts):
                more = lines_of(table.get("optional-dependencies", {}), extras, str(table.get("name", "")))
                return [line for text in texts for line in _plain(text or "")] + more, []
            return None, []
    if setup.requires is None:
        return None, []
    return setup.requires + lines_of(setup.extras, extras, setup.name), []


def _plain(text: str) -> list[str]:
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.split("\n"))
    return [line for line in lines if line]


def _build_requires(pyproject: Mapping[str, Any], setup: setup_static.SetupFacts) -> tuple[str, ...]:
    found = [str(line) for line in pyproject.get("build-system", {}).get("requires", [])]
    if setup.scm:
        found += ["setuptools-scm", "pbr"]
    scm = pyproject.get("tool", {}).get("pdm", {}).get("version", {})
    if isinstance(scm, Mapping) and scm.get("source") != "scm":
        found = [line for line in found if not line.replace("_", "-").startswith("pdm-backend")]
    return tuple(found)


def _setup_scripts(lines: list[str]) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name.strip(): target.strip() for name, target in pairs}
