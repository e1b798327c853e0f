"""setup.cfg (INI) and setup.py (syntax tree only: it is never run)."""

from __future__ import annotations

import ast
import configparser
import re

from karst.detect.literals import Literals
from karst.detect.manifests import Manifest, PythonSpec, Script, line_of
from karst.detect.source import parse
from karst.detect.tree import Tree

_ENTRY = re.compile(r"\A\s*([^\s=\[\]#;][^=]{0,100}?)\s*=\s*([\w.]{1,200}(?::[\w.]{1,200})?)")


def read_cfg(tree: Tree, found: Manifest) -> None:
    """Add what setup.cfg declares; a file that is no INI says nothing."""
    text = tree.text("setup.cfg")
    if text is None:
        return
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=", ":"))
    try:
        parser.read_string(text)
    except (configparser.Error, ValueError):
        return

    def get(section: str, *keys: str) -> str:
        for key in keys:
            if parser.has_option(section, key):
                return parser.get(section, key) or ""
        return ""

    name = get("metadata", "name").strip()
    if name:
        found.name = found.name or name
        found.distribution = True
        found.declare(f"setup.cfg:{line_of(text, '[metadata]')}")
    entry_points(found, get("options.entry_points", "console_scripts"), "setup.cfg", text)
    spec = get("options", "python_requires", "python-requires").strip()
    if spec and not found.pythons:
        found.pythons.append(PythonSpec(spec, f"setup.cfg:{line_of(text, 'python_requires')}"))
    for line in get("options", "install_requires").splitlines():
        found.add_requirement(line)
    for line in get("options", "package_dir").splitlines():
        package, _, folder = line.partition("=")
        if not package.strip():
            found.add_root(folder)
        else:
            found.package_map[package.strip()] = folder.strip()
    where = get("options.packages.find", "where").strip()
    if where:
        found.add_root(where)


def entry_points(found: Manifest, block: str, path: str, text: str, start: int = 1) -> None:
    """Add the ``name = module:function`` lines of an INI block."""
    known = {script.name for script in found.scripts}
    for line in block.splitlines():
        match = _ENTRY.match(line)
        if match and match.group(1) not in known:
            known.add(match.group(1))
            where = line_of(text, match.group(2), start)
            found.scripts.append(Script(match.group(1), match.group(2), f"{path}:{where}"))


def read_py(tree: Tree, found: Manifest) -> None:
    """Add what the call of setup() in setup.py says in literals."""
    text = tree.text("setup.py")
    if text is None:
        return
    module = parse(text)
    if isinstance(module, ast.Module):
        call = _setup_call(module)
        if call is None:
            return
        found.declare(f"setup.py:{call.lineno}")
        found.distribution = True
        _setup(tree, found, text, Literals(module), call)
    elif "setup(" in text:  # Python 2, or broken: it is still what declares the project
        found.declare(f"setup.py:{line_of(text, 'setup(')}")
        found.distribution = True


def _setup_call(module: ast.Module) -> ast.Call | None:
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            func = node.func
            name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
            if name == "setup":
                return node
    return None


def _setup(tree: Tree, found: Manifest, text: str, literals: Literals, call: ast.Call) -> None:
    values: dict[str, object] = {}
    lines: dict[str, int] = {}
    for keyword in call.keywords:
        if keyword.arg:
            values[keyword.arg] = literals.value(keyword.value)
            lines[keyword.arg] = keyword.value.lineno
        else:
            extra = literals.value(keyword.value)
            if isinstance(extra, dict):
                for key, value in extra.items():
                    values.setdefault(str(key), value)
    if isinstance(values.get("name"), str):
        found.name = found.name or str(values["name"])
    points = values.get("entry_points")
    start = lines.get("entry_points", call.lineno)
    if isinstance(points, str):
        block = re.search(r"\[\s*console_scripts\s*\]([^\[]*)", points)
        entry_points(found, block.group(1) if block else "", "setup.py", text, start)
    elif isinstance(points, dict):
        for group in ("console_scripts", "gui_scripts"):
            listed = points.get(group)
            items = listed.splitlines() if isinstance(listed, str) else listed if isinstance(listed, list) else []
            entry_points(found, "\n".join(item for item in items if isinstance(item, str)), "setup.py", text, start)
    for item in _strings(values.get("scripts")):
        path = item.removeprefix("./")
        if tree.has(path):
            where = f"setup.py:{line_of(text, item, lines.get('scripts', call.lineno))}"
            found.script_files.append(Script(path.rpartition("/")[2], path, where))
    spec = values.get("python_requires")
    if isinstance(spec, str) and not found.pythons:
        found.pythons.append(PythonSpec(spec, f"setup.py:{line_of(text, 'python_requires', call.lineno)}"))
    for item in _strings(values.get("install_requires")):
        found.add_requirement(item)
    found.add_packages(values.get("packages"))
    if found.packaged is not None:
        found.add_packages(values.get("py_modules"))
    mapping = values.get("package_dir")
    if isinstance(mapping, dict):
        for package, folder in mapping.items():
            if package == "":
                found.add_root(folder)
            elif isinstance(package, str) and isinstance(folder, str):
                found.package_map[package] = folder.strip("/")


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, (list, tuple)):
        return [item for item in value if isinstance(item, str)]
    return []
