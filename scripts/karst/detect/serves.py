"""Calls that serve until the process ends, found in what a start runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from karst.detect import frameworks as fw
from karst.detect.apps import class_framework, factory, objects
from karst.detect.facts import Facts, now
from karst.detect.modules import Modules
from karst.detect.reach import Block, function_named, reachable


@dataclass(frozen=True)
class Serve:
    """A call that serves until the process ends."""

    path: str
    line: int
    what: str
    port: int | None
    where: str


def serving(modules: Modules, start: list[Block]) -> Serve | None:
    """The first call that serves, among what runs from ``start``."""
    for block in reachable(modules, start):
        found = _serve_in(modules, block)
        if found:
            return found
    return None


def _serve_in(modules: Modules, block: Block) -> Serve | None:
    facts = block.facts
    for top in block.nodes:
        for node in now(top):
            if isinstance(node, ast.Call):
                port = _serve_port(modules, facts, node)
                if port is not None:
                    what = facts.qualified(node.func) or ast.unparse(node.func)[:60]
                    return Serve(facts.path, node.lineno, what, given_port(node), block.where)
    return None


def _serve_port(modules: Modules, facts: Facts, node: ast.Call) -> int | None:
    dotted = facts.qualified(node.func)
    if dotted in fw.SERVE_CALLS:
        return fw.SERVE_CALLS[dotted]
    func = node.func
    if isinstance(func, ast.Name):
        for star in facts.stars:
            known = fw.SERVE_CALLS.get(f"{star}.{func.id}")
            if known is not None and func.id not in facts.functions:
                return known
    if isinstance(func, ast.Attribute):
        if func.attr == "serve_forever":
            return 0
        if func.attr in fw.SERVE_METHODS:
            return _owner_serves(modules, facts, func.value)
        if func.attr == "listen" and facts.imports("tornado", "socket"):
            return 0
    command = _command_text(node, dotted)
    if any(word in command for word in ("uvicorn", "gunicorn", "streamlit run", "flask run", "runserver", "hypercorn")):
        return 0
    return None


def _command_text(node: ast.Call, dotted: str) -> str:
    """The text of a command that is started in a process of its own."""
    if not dotted.startswith(("subprocess.", "os.system", "os.exec", "os.popen")):
        return ""
    return " ".join(
        inner.value
        for arg in node.args
        for inner in ast.walk(arg)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    )


def _owner_serves(modules: Modules, facts: Facts, owner: ast.expr) -> int | None:
    if isinstance(owner, ast.Call):
        made = facts.qualified(owner.func)
        known = class_framework(modules, facts, owner.func)
        return known.port if known else 0 if made in fw.SERVE_OWNERS else None
    if not isinstance(owner, ast.Name):
        return None
    if facts.qualified(owner) in fw.SERVE_OWNERS:
        return 0
    for app in objects(modules, facts):
        if app.name == owner.id:
            return app.framework.port
    for value in facts.bound.get(owner.id, ()):
        if facts.qualified(value.func) in fw.SERVE_OWNERS:
            return 0
        known = class_framework(modules, facts, value.func)
        if known:
            return known.port
        if isinstance(value.func, ast.Name):
            target = function_named(modules, facts, value.func.id)
            made_by = factory(modules, target[0], target[1]) if target else None
            if made_by:
                return made_by.port
            if value.func.id in fw.FACTORY_NAMES:
                return 0
    origin = modules.imported_from(facts, owner.id)
    if origin and origin[1] and origin[0] != facts.path:
        other = modules.facts(origin[0])
        for app in objects(modules, other):
            if app.name == origin[1]:
                return app.framework.port
        for value in other.bound.get(origin[1], ()):
            if other.qualified(value.func) in fw.SERVE_OWNERS:
                return 0
    return None


def given_port(node: ast.Call) -> int | None:
    """A port written as a number in the call."""
    for word in node.keywords:
        if word.arg == "port" and isinstance(word.value, ast.Constant) and isinstance(word.value.value, int):
            return word.value.value if 0 < word.value.value < 65536 else None
    for arg in node.args[:3]:
        values = arg.elts if isinstance(arg, ast.Tuple) else [arg]
        for value in values:
            if isinstance(value, ast.Constant) and type(value.value) is int and 79 < value.value < 65536:
                return int(value.value)
    return None
