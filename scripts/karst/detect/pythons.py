"""Which Python the repository asks for, and whether there is a base image with it."""

from __future__ import annotations

from karst.detect import frameworks as fw
from karst.detect.errors import DetectError, listed
from karst.detect.manifests import PythonSpec
from karst.detect.repo import Miss, Outcome, Repo

_PATCHES = range(30)


def gate(repo: Repo) -> Outcome:
    """Refuse (needs_python) when no available Python satisfies what is declared; never a start command."""
    for declared in _declared(repo):
        if not any(fits(declared.spec, version) for version in repo.python_available):
            have = listed([_minor(v) for v in repo.python_available])
            raise DetectError(
                "needs_python",
                f"{declared.evidence} asks for Python {declared.spec}, and the base image here has {have}",
                hint="set `python:` to a version that fits and that has a base image, or relax the declaration",
                evidence=declared.evidence,
            )
    spec = specifier(repo)
    return Miss(f"Python {spec} is asked for and there" if spec else "no Python version is asked for")


def specifier(repo: Repo) -> str:
    """The declared range in the form of PEP 440, or ""."""
    return next((item.spec for item in _declared(repo)), "")


def _declared(repo: Repo) -> list[PythonSpec]:
    hard = [item for item in repo.manifest.pythons if item.evidence != "wish"]
    return [*hard, *_implied(repo)]


def _implied(repo: Repo) -> list[PythonSpec]:
    """A pinned framework can exclude Pythons that the repository itself says nothing about."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    found: list[PythonSpec] = []
    for name, table in fw.IMPLIED_PYTHON.items():
        pin = repo.manifest.dependencies.get(name, "")
        if not pin:
            continue
        try:
            text = pin if pin[0] in "<>=!~" else f"=={pin.lstrip('^~')}.*" if pin[:1] not in "^~" else f">={pin[1:]}"
            specs = SpecifierSet(text)
        except InvalidSpecifier:
            continue
        for first, python in table:
            lowest = min(
                (s.version.removesuffix(".*") for s in specs if s.operator in ("==", ">=", "~=", "===")),
                default="",
                key=_key,
            )
            if lowest and _key(lowest) >= _key(first):
                found.append(PythonSpec(f">={python}", _mention(repo, name)))
                break
    return found


def _mention(repo: Repo, name: str) -> str:
    for path in ("pyproject.toml", "requirements.txt", "Pipfile", "setup.cfg", "setup.py"):
        for number, line in enumerate((repo.tree.text(path) or "").splitlines(), 1):
            if name in line.lower():
                return f"{path}:{number}"
    return repo.manifest.declared


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def fits(spec: str, version: str) -> bool:
    """Whether a Python (``3.11`` or ``3.11.2``) satisfies a range; ranges nobody can read count as satisfied."""
    return any(_fits_one(part.strip(), version) for part in spec.split("||"))


def _fits_one(spec: str, version: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not spec:
        return True
    try:
        wanted = SpecifierSet(_repaired(spec))
    except InvalidSpecifier:
        return True
    if version.count(".") >= 2:
        return wanted.contains(version, prereleases=True)
    return any(wanted.contains(f"{version}.{patch}", prereleases=True) for patch in _PATCHES)


def _repaired(spec: str) -> str:
    """Spellings that old tools took: ``>=3.6.*``, a bare ``3.8``, ``>3.6 <4``."""
    out: list[str] = []
    for part in spec.replace(";", ",").replace(" ", ",").split(","):
        if not part:
            continue
        if out and out[-1] in ("<", "<=", ">", ">=", "==", "!=", "~="):
            part = out.pop() + part
        if part.endswith(".*") and not part.startswith(("==", "!=")):
            part = part[:-2]
        if part[0].isdigit():
            part = f"=={part}.*" if part.count(".") < 2 else f"=={part}"
        out.append(part)
    return ",".join(out)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
