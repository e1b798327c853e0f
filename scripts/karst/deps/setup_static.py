"""setup.cfg and setup.py, read without running them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from karst.deps.tree import Tree


@dataclass
class SetupFacts:
    """What can be known statically. ``requires`` is None when it is computed (then only building tells)."""

    name: str = ""
    version: str = ""
    requires: list[str] | None = None
    extras: dict[str, list[str]] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    scm: bool = False
    extensions: bool = False


def read(tree: Tree) -> SetupFacts:
    """setup.cfg first, then what setup.py's ``setup(…)`` call says in plain literals."""
    facts = SetupFacts()
    if tree.is_file("setup.py"):
        _setup_py(tree.text("setup.py") or "", facts)
    if tree.is_file("setup.cfg"):
        _setup_cfg(tree, facts)
    _conditional(facts)
    return facts


def _conditional(facts: SetupFacts) -> None:
    """setuptools' older way to say a marker: the extra ``:sys_platform!="win32"`` is no extra, ``x:marker`` is one."""
    for key in [key for key in facts.extras if ":" in key]:
        name, marker = (part.strip() for part in key.split(":", 1))
        lines = [f"{line} ; {marker}" for line in facts.extras.pop(key)]
        if name:
            facts.extras.setdefault(name, []).extend(lines)
        elif facts.requires is not None:
            facts.requires = facts.requires + lines


def _setup_cfg(tree: Tree, facts: SetupFacts) -> None:
    parser = tree.ini("setup.cfg")
    if parser.has_section("metadata"):
        facts.name = parser.get("metadata", "name", fallback=facts.name)
        version = parser.get("metadata", "version", fallback="")
        if version and not version.startswith(("attr:", "file:")):
            facts.version = version
    if parser.has_option("options", "install_requires"):
        value = parser.get("options", "install_requires")
        facts.requires = _file_lines(tree, value) if value.strip().startswith("file:") else _lines(value)
    elif not tree.is_file("setup.py") and parser.has_section("metadata"):
        facts.requires = []
    if parser.has_section("options.extras_require"):
        facts.extras |= {key: _lines(value) for key, value in parser.items("options.extras_require")}
    for section in ("options.entry_points", "entry_points"):
        if parser.has_option(section, "console_scripts"):
            facts.scripts += _lines(parser.get(section, "console_scripts"))
    if parser.has_option("options", "setup_requires"):
        facts.scm = facts.scm or "setuptools_scm" in parser.get("options", "setup_requires").replace("-", "_")
    facts.scm = facts.scm or parser.has_section("tool:setuptools_scm") or parser.has_section("pbr")


def _file_lines(tree: Tree, value: str) -> list[str] | None:
    names = [name.strip() for name in value.split(":", 1)[1].replace("\n", ",").split(",") if name.strip()]
    texts = [tree.text(name) for name in names]
    return [line for text in texts for line in _lines(text or "")] if all(text is not None for text in texts) else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]


def _setup_py(source: str, facts: SetupFacts) -> None:
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    names = _literals(module)
    for call in ast.walk(module):
        if not isinstance(call, ast.Call) or _called(call) != "setup":
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        spread = any(keyword.arg is None for keyword in call.keywords)
        facts.name = _text(given.get("name"), names) or facts.name
        facts.version = _text(given.get("version"), names) or facts.version
        facts.scm = facts.scm or "use_scm_version" in given or "pbr" in given
        facts.extensions = facts.extensions or "ext_modules" in given or "cffi_modules" in given
        if "install_requires" in given:
            facts.requires = _list(given["install_requires"], names)
        elif not spread:
            facts.requires = []
        extras = _value(given.get("extras_require"), names)
        if isinstance(extras, dict):
            facts.extras |= {str(key): _strings(value) for key, value in extras.items()}
        points = _value(given.get("entry_points"), names)
        if isinstance(points, dict):
            facts.scripts += _strings(points.get("console_scripts", []))
        elif isinstance(points, str):
            block = re.search(r"\[console_scripts\]\s*\n(.*?)(?=\n\s*\[|\Z)", points, re.S)
            facts.scripts += _lines(block.group(1)) if block else []


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _literals(module: ast.Module) -> dict[str, Any]:
    """Module-level names with a literal value that nothing changes afterwards (``if windows: requires += …``)."""
    found: dict[str, Any] = {}
    changed = _changed(module)
    for node in module.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            value = _value(node.value, found)
            if value is not None and node.targets[0].id not in changed:
                found[node.targets[0].id] = value
    return found


def _changed(module: ast.Module) -> set[str]:
    """Names that are assigned more than once, added to, or have one of their methods called."""
    assigned: list[str] = []
    touched: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = (
                    [target]
                    if isinstance(target, ast.Name)
                    else [n for n in ast.walk(target) if isinstance(n, ast.Name)]
                )
                assigned += [name.id for name in names]
        elif isinstance(node, ast.AugAssign | ast.Delete):
            touched |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            touched |= {name.id for name in ast.walk(node.func.value) if isinstance(name, ast.Name)}
    return touched | {name for name in assigned if assigned.count(name) > 1}


def _value(node: ast.expr | None, names: dict[str, Any]) -> Any:
    """A literal, a name of one, or a sum of such; None for anything computed."""
    if node is None:
        return None
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _value(node.left, names), _value(node.right, names)
        return left + right if isinstance(left, list) and isinstance(right, list) else None
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        values = {_value(key, names): _value(value, names) for key, value in zip(node.keys, node.values, strict=True)}
        return None if None in values else values
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item, names) for item in node.elts]
        return None if None in items else items
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _list(node: ast.expr, names: dict[str, Any]) -> list[str] | None:
    value = _value(node, names)
    if isinstance(value, str):
        return _lines(value)
    return _strings(value) if isinstance(value, list | tuple | set) else None


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return _lines(value)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple | set) else []


def _text(node: ast.expr | None, names: dict[str, Any]) -> str:
    value = _value(node, names)
    return value if isinstance(value, str) else ""
