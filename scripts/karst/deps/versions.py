"""A version for projects that take theirs from git, which a source archive does not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from karst.deps.pep508 import normal, valid_version
from karst.deps.tree import Tree

# Build requirements that read git → the variable that answers in git's place. `{}` is the distribution's name.
# Sources: setuptools-scm "overrides", pbr "versioning", pdm-backend "scm", the two dynamic-versioning plugins' READMEs.
PRETEND = {
    "setuptools-scm": ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    "vcs-versioning": ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    "hatch-vcs": ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    "flit-scm": ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    "setuptools-git-versioning": ("SETUPTOOLS_SCM_PRETEND_VERSION",),
    "pbr": ("PBR_VERSION",),
    "pdm-backend": ("PDM_BUILD_SCM_VERSION",),
    "poetry-dynamic-versioning": ("POETRY_DYNAMIC_VERSIONING_BYPASS",),
    "uv-dynamic-versioning": ("UV_DYNAMIC_VERSIONING_BYPASS",),
}


def pretend(build_requires: list[str], name: str, version: str) -> dict[str, str]:
    """The variables for the tools among ``build_requires``; {} when none of them reads git."""
    found: dict[str, str] = {}
    wanted = {normal(re.split(r"[\s\[<>=!~;@(]", line, maxsplit=1)[0]) for line in build_requires if line.strip()}
    for tool in sorted(wanted & set(PRETEND)):
        for variable in PRETEND[tool]:
            if "{}" not in variable:
                found[variable] = version
            elif name:
                found[variable.format(re.sub(r"[-_.]+", "_", name).upper())] = version
    return found


def from_source(tree: Tree, ref: str, revision: str, name: str = "") -> str:
    """The best version that can be known: PKG-INFO, git's archive file, a tag as ref, else 0.0.0 with the revision."""
    return from_pkg_info(tree) or _archival(tree) or from_tag(ref, name) or of_revision(revision)


def from_pkg_info(tree: Tree) -> str:
    """The version of a published source archive."""
    match = re.search(r"^Version:\s*(\S+)\s*$", tree.text("PKG-INFO") or "", re.M)
    return valid_version(match.group(1)) if match else ""


def from_tag(ref: str, name: str = "") -> str:
    """``v1.2.3``, ``release-1.2.3``, ``<name>-1.2.3`` → 1.2.3; a branch or a commit → ""."""
    if re.fullmatch(r"[0-9a-f]{7,40}", ref):
        return ""
    prefixes = "|".join(
        [r"v", r"v\.", r"release[-_/]v?", r"rel[-_/]v?", *([re.escape(name) + r"[-_/@]v?"] if name else [])]
    )
    match = re.fullmatch(rf"(?:refs/tags/)?(?:{prefixes})?(\d+(?:\.\d+)+[\w.+!-]*)", ref, re.I)
    return valid_version(match.group(1)) if match else ""


def _archival(tree: Tree) -> str:
    match = re.search(r"^describe-name:\s*(\S+?)(?:-(\d+)-g[0-9a-f]+)?\s*$", tree.text(".git_archival.txt") or "", re.M)
    version = from_tag(match.group(1)) if match else ""
    return (
        f"{version}.post{match.group(2)}"
        if version and match and match.group(2) and ".post" not in version
        else version
    )


def of_revision(revision: str) -> str:
    """The version of a project of which nothing but the revision is known."""
    return f"0.0.0+{_local(revision)}"


def _local(revision: str) -> str:
    """A local version label (PEP 440: letters and digits) that names the revision."""
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return f"g{revision[:12]}"
    return "d" + (re.sub(r"[^0-9a-z]", "", revision.removeprefix("dir-"))[:12] or "0")


def static_version(pyproject: Mapping[str, Any]) -> str:
    """``[project] version`` or Poetry's, when it is written down."""
    project = pyproject.get("project", {}).get("version")
    poetry = pyproject.get("tool", {}).get("poetry", {}).get("version")
    return valid_version(str(project or poetry or ""))
