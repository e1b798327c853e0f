"""pyproject.toml: PEP 621, poetry, flit, uv, pdm and the package folders of the usual backends."""

from __future__ import annotations

import re
from typing import Any

from karst.detect.errors import DetectError
from karst.detect.manifests import Manifest, PythonSpec, Script
from karst.detect.tree import Tree

FILE = "pyproject.toml"


def read(tree: Tree, found: Manifest) -> None:
    """Add what pyproject.toml declares. Raises DetectError when it is not TOML."""
    text = tree.text(FILE)
    if text is None:
        return
    data = _parse(text)
    project, tool = _table(data, "project"), _table(data, "tool")
    poetry = _table(tool, "poetry")
    flit = _table(tool, "flit", "metadata")
    build = _table(data, "build-system")
    name = next((n for n in (project.get("name"), poetry.get("name"), flit.get("module")) if isinstance(n, str)), "")
    found.name = found.name or name
    if project or poetry or flit or build:
        found.declare(f"{FILE}:{_line(text, 'project', 'tool.poetry', 'tool.flit.metadata', 'build-system')}")
    package_off = poetry.get("package-mode") is False or _table(tool, "uv").get("package") is False
    package_off = package_off or _table(tool, "pdm").get("distribution") is False
    has_backend = bool(build) or _table(tool, "uv").get("package") is True
    if name and not package_off and (has_backend or project):
        found.distribution = True
    _scripts(text, found, project, tool)
    _python(text, found, project, poetry)
    _dependencies(found, project, poetry, tool)
    _packages(found, tool)
    members = _table(tool, "uv", "workspace").get("members")
    if isinstance(members, list):
        found.workspace = [member for member in members if isinstance(member, str)]


def _parse(text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        match = re.search(r"at line (\d+)", str(err))
        line = int(match.group(1)) if match else max(1, text.count("\n"))
        what = re.sub(r" \(at .*\)\Z", "", str(err))
        raise DetectError(
            "does_not_parse",
            f"{FILE}:{line} is not valid TOML ({what})",
            hint="fix the file: no Python tool can install the project as it is",
            evidence=f"{FILE}:{line}",
        ) from None
    except (ValueError, RecursionError):
        raise DetectError("does_not_parse", f"{FILE}:1 cannot be read as TOML", evidence=f"{FILE}:1") from None


def _table(data: dict[str, Any], *path: str) -> dict[str, Any]:
    for key in path:
        value = data.get(key)
        if not isinstance(value, dict):
            return {}
        data = value
    return data


def _line(text: str, *tables: str) -> int:
    lines = text.splitlines()
    for table in tables:
        wanted = table.replace(" ", "")
        for number, line in enumerate(lines, 1):
            header = re.sub(r"[\s\"']", "", line.split("#")[0])
            if header.startswith("[") and header.strip("[]").startswith(wanted):
                return number
    return 1


def _key_line(text: str, table: str, key: str) -> int:
    """The line of ``key`` below ``[table]``; tables written inline are searched in the whole file."""
    start = _line(text, table)
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            inside = number == start
        elif inside and re.match(rf"[\"']?{re.escape(key)}[\"']?\s*=", bare):
            return number
    last = table.rpartition(".")[2]
    for number, line in enumerate(text.splitlines(), 1):
        if (
            re.match(rf"\s*[\"']?(?:{re.escape(last)}|{re.escape(key)})[\"']?[.\s]*[\w.\"'-]*\s*=", line)
            and key in line
        ):
            return number
    return start


def _scripts(text: str, found: Manifest, project: dict[str, Any], tool: dict[str, Any]) -> None:
    tables = (
        ("project.scripts", _table(project, "scripts")),
        ("tool.poetry.scripts", _table(tool, "poetry", "scripts")),
        ("tool.flit.scripts", _table(tool, "flit", "scripts")),
        ("project.gui-scripts", _table(project, "gui-scripts")),
    )
    known: set[str] = set()
    for table, scripts in tables:
        for name, target in scripts.items():
            if isinstance(target, dict):  # poetry: { reference = "pkg:main", type = "console" } or callable =
                target = target.get("reference") or target.get("callable")
            if isinstance(target, str) and name not in known:
                known.add(name)
                # An extra behind the target ("mod:main [cli]") is legal and says nothing about where main is.
                clean = target.split("[")[0].strip()
                found.scripts.append(Script(name, clean, f"{FILE}:{_key_line(text, table, name)}"))


def _python(text: str, found: Manifest, project: dict[str, Any], poetry: dict[str, Any]) -> None:
    spec = project.get("requires-python")
    if isinstance(spec, str):
        found.pythons.append(PythonSpec(spec, f"{FILE}:{_key_line(text, 'project', 'requires-python')}"))
    wanted = _table(poetry, "dependencies").get("python")
    if isinstance(wanted, dict):
        wanted = wanted.get("version")
    if isinstance(wanted, str) and not isinstance(spec, str):
        line = _key_line(text, "tool.poetry.dependencies", "python")
        found.pythons.append(PythonSpec(poetry_spec(wanted), f"{FILE}:{line}"))


def poetry_spec(text: str) -> str:
    """Poetry's caret and tilde ranges as PEP 440; alternatives (``||``) are kept, each on its own."""
    return " || ".join(_poetry_one(part) for part in text.replace("|", " || ").split("||") if part.strip())


def _poetry_one(text: str) -> str:
    out: list[str] = []
    for part in re.split(r"[,\s]+", re.sub(r"([<>=!~^])\s+", r"\1", text.strip())):
        match = re.fullmatch(r"([\^~])(\d+(?:\.\d+)*)(?:\.\*)?", part)
        if match:
            numbers = [int(n) for n in match.group(2).split(".")]
            keep = 1 if match.group(1) == "^" or len(numbers) == 1 else 2
            if match.group(1) == "^" and numbers[0] == 0:
                keep = 2
            top = numbers[:keep]
            top[-1] += 1
            out += [f">={match.group(2)}", f"<{'.'.join(map(str, top))}"]
        elif re.fullmatch(r"\d+(\.\d+)?(\.\*)?", part):
            out.append(f"=={part.removesuffix('.*')}.*")
        elif part and part != "*":
            out.append(part)
    return ",".join(out)


def _dependencies(found: Manifest, project: dict[str, Any], poetry: dict[str, Any], tool: dict[str, Any]) -> None:
    listed = project.get("dependencies")
    if isinstance(listed, list):
        for item in listed:
            if isinstance(item, str):
                found.add_requirement(item)
    for name, spec in _table(poetry, "dependencies").items():
        if name != "python":
            version = spec.get("version", "") if isinstance(spec, dict) else spec
            version = version if isinstance(version, str) else ""
            found.add_requirement(f"{name} {version if version[:1] in '<>=!~' else ''}")
            if version[:1] in ("^", "~") or version[:1].isdigit():
                found.dependencies[normal(name)] = version
    for item in _table(tool, "flit", "metadata").get("requires", []) or []:
        if isinstance(item, str):
            found.add_requirement(item)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _packages(found: Manifest, tool: dict[str, Any]) -> None:
    """Where the backends are told to find the packages."""
    setuptools = _table(tool, "setuptools")
    for package, folder in _table(setuptools, "package-dir").items():
        if package == "":
            found.add_root(folder)
        elif isinstance(folder, str):
            found.package_map[package] = folder.strip("/")
    found.add_packages(setuptools.get("packages"))
    if found.packaged is not None:
        found.add_packages(setuptools.get("py-modules"))
    where = _table(setuptools, "packages", "find").get("where")
    for folder in where if isinstance(where, list) else []:
        found.add_root(folder)
    for item in _table(tool, "poetry").get("packages") or []:
        if isinstance(item, dict) and isinstance(item.get("from"), str):
            found.add_root(item["from"])
    wheel = _table(tool, "hatch", "build", "targets", "wheel")
    for item in wheel.get("packages") or []:
        if isinstance(item, str) and "/" in item:
            found.add_root(item.rpartition("/")[0])
    maturin = _table(tool, "maturin").get("python-source")
    for folder in (maturin, _table(tool, "pdm", "build").get("package-dir")):
        if isinstance(folder, str):
            found.add_root(folder)
