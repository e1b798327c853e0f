"""Small tools on requirement strings, markers and version constraints, shared by the lock conversions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
VCS = ("git+", "hg+", "svn+", "bzr+")


def normal(name: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return str(canonicalize_name(name))


def parse(text: str) -> Requirement | None:
    """A PEP 508 requirement, or None when it is not one."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def environments(python: str) -> list[dict[str, str]]:
    """Every environment an image may turn out to be: Linux and CPython are certain, processor and patch level are not.

    ``python`` is "3.11", or "" when the base image's version is not known.
    """
    found = []
    for version in [python] if python else PYTHONS:
        for patch in ("0", "99"):
            for machine in ("x86_64", "aarch64"):
                found.append(
                    {
                        "os_name": "posix",
                        "sys_platform": "linux",
                        "platform_system": "Linux",
                        "platform_machine": machine,
                        "platform_python_implementation": "CPython",
                        "implementation_name": "cpython",
                        "python_version": version,
                        "python_full_version": f"{version}.{patch}",
                        "implementation_version": f"{version}.{patch}",
                        "platform_release": "",
                        "platform_version": "",
                    }
                )
    return found


def holds(marker: str, where: Iterable[Mapping[str, str]], extras: Iterable[str] = ()) -> bool | None:
    """Whether a marker holds in all of ``where`` (True), in none (False), or depends on the machine (None)."""
    if not marker.strip():
        return True
    try:
        parsed = Marker(marker)
    except InvalidMarker:
        return None
    seen = set()
    for environment in where:
        try:
            seen.add(any(parsed.evaluate({**environment, "extra": extra}) for extra in ["", *sorted(extras)]))
        except (UndefinedEnvironmentName, InvalidVersion):
            return None
    return seen.pop() if len(seen) == 1 else None


def without_extra(marker: str) -> str:
    """The marker without its ``extra == …`` parts, which the walk has already answered."""
    text = re.sub(r"""\s*\(?\s*extra\s*==\s*(['"])[^'"]*\1\s*\)?\s*(and|or)?""", " ", marker)
    text = re.sub(r"\s*(and|or)\s*$", "", text.strip()).strip()
    try:
        return str(Marker(text)) if text else ""
    except InvalidMarker:
        return ""


def satisfies(version: str, constraint: str) -> bool:
    """Whether a version is inside a PEP 440 constraint; unreadable ones count as inside."""
    try:
        return not constraint or SpecifierSet(constraint).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def valid_version(text: str) -> str:
    """``text`` as a normalised PEP 440 version, or ""."""
    try:
        return str(Version(text))
    except InvalidVersion:
        return ""


def from_poetry(constraint: str) -> str:
    """Poetry's constraint (caret, tilde, wildcard, bare version) as a PEP 440 specifier; "" means any version.

    Alternatives (``^1 || ^2``) have no PEP 440 form: the hull from the lowest bound to the highest is used.
    Source of the rules: https://python-poetry.org/docs/dependency-specification/
    """
    alternatives = [_all_of(part) for part in re.split(r"\s*\|\|?\s*", constraint.strip()) if part.strip()]
    if not alternatives or "" in alternatives:
        return ""
    return alternatives[0] if len(alternatives) == 1 else _hull(alternatives)


def _all_of(text: str) -> str:
    parts = [part for part in re.split(r"\s*,\s*|\s+(?=[<>=!~^])", text.strip()) if part]
    return ",".join(filter(None, (_one(re.sub(r"\s+", "", part)) for part in parts)))


def _one(part: str) -> str:
    if part in ("*", "", "==*", "=*"):
        return ""
    if part[0] == "^":
        return _range(part[1:], _caret)
    if part[0] == "~" and not part.startswith("~="):
        return _range(part[1:], _tilde)
    if re.match(r"^=[^=]", part):
        return "=" + part
    return part if part[0] in "<>=!~" else f"=={part}"


def _range(text: str, upper: Any) -> str:
    version = Version(text)
    return f">={version},<{upper(version, len(text.split('.')))}"


def _caret(version: Version, given: int) -> str:
    release = list(version.release[:3])
    for index, number in enumerate(release):
        if number or index == given - 1:
            return ".".join(str(n) for n in [*release[:index], number + 1, *([0] * (len(release) - index - 1))])
    return "1"


def _tilde(version: Version, given: int) -> str:
    release = version.release
    return str(release[0] + 1) if given == 1 else f"{release[0]}.{release[1] + 1}"


def _hull(alternatives: list[str]) -> str:
    lows, highs = [], []
    for text in alternatives:
        low, high = "", ""
        for specifier in SpecifierSet(text):
            if specifier.operator in (">=", ">", "==", "~="):
                low = specifier.version.rstrip(".*")
            if specifier.operator in ("<", "<="):
                high = f"{specifier.operator}{specifier.version}"
            elif specifier.operator in ("==", "~="):
                high = f"<={low}" if "*" not in specifier.version and specifier.operator == "==" else ""
        lows.append(low)
        highs.append(high)
    parts = []
    if all(lows):
        parts.append(">=" + min(lows, key=Version))
    if all(highs):
        parts.append(max(highs, key=lambda text: Version(text.lstrip("<="))))
    return ",".join(parts)


def python_marker(constraint: str) -> str:
    """Poetry's ``python = ">=3.9,<3.12"`` of one dependency as a marker."""
    parts = []
    for specifier in sorted(SpecifierSet(from_poetry(constraint)), key=str):
        name = "python_version" if len(Version(specifier.version.rstrip(".*")).release) <= 2 else "python_full_version"
        parts.append(f'{name} {specifier.operator} "{specifier.version}"')
    return " and ".join(parts)


def both(*markers: str) -> str:
    """Markers joined by ``and``, parenthesised where one contains ``or``."""
    kept = [marker.strip() for marker in markers if marker.strip()]
    if len(kept) < 2:
        return "".join(kept)
    return " and ".join(f"({marker})" if " or " in marker else marker for marker in kept)
