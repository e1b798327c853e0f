"""Application objects, factories and calls that serve, found in a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from karst.detect import frameworks as fw
from karst.detect.facts import Facts, Function, now
from karst.detect.frameworks import Framework
from karst.detect.modules import Modules
from karst.detect.reach import function_named

MAX_HOPS = 4


@dataclass(frozen=True)
class App:
    """A name of a module that a server can be pointed at."""

    name: str
    framework: Framework
    line: int
    factory: bool = False
    wraps: tuple[str, ...] = ()


def objects(modules: Modules, facts: Facts, hops: int = MAX_HOPS) -> list[App]:
    """The application objects of a module, the best one first."""
    key = ("objects", facts.path, str(hops))
    if key not in modules.memo:
        modules.memo[key] = []
        modules.memo[key] = _objects(modules, facts, hops)
    return cast("list[App]", modules.memo[key])


def _objects(modules: Modules, facts: Facts, hops: int) -> list[App]:
    found: dict[str, App] = {}
    for name, expressions in facts.assigned.items():
        for expression in expressions:
            framework = _framework(modules, facts, expression, found, hops)
            if framework:
                found[name] = App(name, framework, expression.lineno, wraps=_names_in(expression))
    for name in _completed_by_functions(facts):
        found.pop(name, None)
    bare = {name for name, app in found.items() if app.framework.interface == "dash"}
    if bare and not _laid_out(modules, facts):
        found = {name: app for name, app in found.items() if not bare & {name, *_owners(facts, name)}}
    for name, function in facts.functions.items():
        framework = _callable(function.node.args, function.is_async)
        if framework:
            found[name] = App(name, framework, function.line)
    if hops:
        for name in [*facts.relative_names, *facts.names]:
            if name in fw.APP_NAMES and name not in found:
                origin = modules.imported_from(facts, name)
                if origin and origin[1] and origin[0] != facts.path:
                    other = [a for a in objects(modules, modules.facts(origin[0]), hops - 1) if a.name == origin[1]]
                    if other:
                        line = facts.relative or min(facts.imported.values(), default=1)
                        found[name] = App(name, other[0].framework, line)
    if facts.imports("hug") and any(_hug_route(node) for node in _decorators(facts)):
        found["__hug_wsgi__"] = App("__hug_wsgi__", fw.PLAIN_WSGI, facts.imported.get("hug", 1))
    return sorted(found.values(), key=lambda app: _preference(app, found, facts))


def _completed_by_functions(facts: Facts) -> set[str]:
    """Module-level names that a function with parameters returns: nobody has set them up on import."""
    out: set[str] = set()
    for function in facts.functions.values():
        returned = {
            node.value.id
            for node in now_body(function)
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Name)
        }
        bound = {
            target.id
            for node in now_body(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if function.required():
            out |= (returned & set(facts.assigned)) - bound
    return out


def _laid_out(modules: Modules, facts: Facts) -> bool:
    """Whether a Dash application gets its layout on import: otherwise another module completes it and starts it."""
    return any(".layout" in modules.facts(path).text for path in modules.closure(facts.path))


def _owners(facts: Facts, name: str) -> set[str]:
    """The names whose attribute a name is, ``app`` for ``server = app.server``."""
    return {
        expression.value.id
        for expression in facts.assigned.get(name, ())
        if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name)
    }


def now_body(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body, without nested functions."""
    for statement in function.node.body:
        yield from now(statement)


def _preference(app: App, found: dict[str, App], facts: Facts) -> tuple[bool, bool, int, int]:
    wrapped = any(app.name in other.wraps and other.name != app.name for other in found.values())
    mounted = _mounted(facts)
    order = fw.APP_NAMES.index(app.name) if app.name in fw.APP_NAMES else len(fw.APP_NAMES)
    return wrapped, app.name in mounted, order, app.line


def _mounted(facts: Facts) -> set[str]:
    """Names given to ``x.mount(…)``: they are parts of another application."""
    out: set[str] = set()
    for node in facts.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            func = node.value.func
            if isinstance(func, ast.Attribute) and func.attr in ("mount", "add_subapp", "include_router"):
                values = [*node.value.args, *(word.value for word in node.value.keywords)]
                out |= {arg.id for arg in values if isinstance(arg, ast.Name)}
    return out


def _names_in(expression: ast.expr) -> tuple[str, ...]:
    if not isinstance(expression, ast.Call):
        return ()
    values = [*expression.args, *(word.value for word in expression.keywords)]
    return tuple(value.id for value in values if isinstance(value, ast.Name))


def _framework(modules: Modules, facts: Facts, node: ast.expr, known: dict[str, App], hops: int) -> Framework | None:
    if isinstance(node, ast.Name):
        return known[node.id].framework if node.id in known else None
    if isinstance(node, ast.Attribute) and node.attr == "server" and isinstance(node.value, ast.Name):
        owner = known.get(node.value.id)
        return fw.APP_CLASSES["flask.Flask"] if owner and owner.framework.interface == "dash" else None
    if isinstance(node, ast.IfExp):
        return _framework(modules, facts, node.body, known, hops) or _framework(
            modules, facts, node.orelse, known, hops
        )
    if not isinstance(node, ast.Call):
        return None
    named = class_framework(modules, facts, node.func, hops)
    if named:
        return named
    if isinstance(node.func, ast.Attribute) and node.func.attr in fw.APP_METHODS:
        return fw.APP_METHODS[node.func.attr]
    if isinstance(node.func, ast.Name) and hops:
        target = function_named(modules, facts, node.func.id)
        if target:
            made = factory(modules, target[0], target[1], hops - 1)
            if made:
                return made
    # A wrapper of somebody else's: what it wraps tells the interface.
    for name in _names_in(node)[:1]:
        if name in known and isinstance(node.func, (ast.Name, ast.Attribute)) and _class_like(node.func):
            return known[name].framework if not _not_wrapper(facts, node) else None
    return None


def _class_like(func: ast.expr) -> bool:
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    return name.endswith(("Middleware", "ProxyFix", "ASGIApp", "WSGIApp", "Fix"))


def _not_wrapper(facts: Facts, node: ast.Call) -> bool:
    return facts.qualified(node.func).startswith(("flask_", "sqlalchemy", "celery"))


def class_framework(modules: Modules, facts: Facts, node: ast.expr, hops: int = MAX_HOPS) -> Framework | None:
    """The framework of a constructor: the class itself, or one of the tree derived from it."""
    dotted = facts.qualified(node)
    if dotted in fw.APP_CLASSES:
        return fw.APP_CLASSES[dotted]
    if not isinstance(node, ast.Name):
        return None
    for star in facts.stars:
        known = fw.STAR_NAMES.get((star.split(".")[0], node.id))
        if known and node.id not in facts.names:
            return known
    if node.id in facts.classes:
        return _derived(modules, facts, facts.classes[node.id], hops)
    if hops:
        origin = modules.imported_from(facts, node.id)
        if origin and origin[1]:
            other = modules.facts(origin[0])
            if origin[1] in other.classes:
                return _derived(modules, other, other.classes[origin[1]], hops - 1)
    return None


def _derived(modules: Modules, facts: Facts, node: ast.ClassDef, hops: int) -> Framework | None:
    if hops:
        for base in node.bases:
            found = class_framework(modules, facts, base, hops - 1)
            if found:
                return found
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == "__call__":
            return _callable(item.args, isinstance(item, ast.AsyncFunctionDef))
    return None


def _callable(spec: ast.arguments, is_async: bool) -> Framework | None:
    names = [arg.arg for arg in spec.args if arg.arg != "self"]
    if is_async and names == ["scope", "receive", "send"]:
        return fw.PLAIN_ASGI
    if (
        not is_async
        and len(names) == 2
        and names[0] in ("environ", "env")
        and names[1]
        in (
            "start_response",
            "start_resp",
        )
    ):
        return fw.PLAIN_WSGI
    return None


def factory(modules: Modules, facts: Facts, function: Function, hops: int = MAX_HOPS) -> Framework | None:
    """The framework of what a function returns, by annotation or by what it builds."""
    key = ("factory", facts.path, function.name, str(hops))
    if key not in modules.memo:
        modules.memo[key] = None
        modules.memo[key] = _factory(modules, facts, function, hops)
    return cast("Framework | None", modules.memo[key])


def _factory(modules: Modules, facts: Facts, function: Function, hops: int) -> Framework | None:
    annotation = function.node.returns
    if annotation is not None:
        found = fw.APP_CLASSES.get(facts.qualified(annotation))
        if found:
            return found
    local: dict[str, App] = {}
    for node in ast.walk(function.node):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            made = _framework(modules, facts, node.value, local, hops)
            if made:
                local[node.targets[0].id] = App(node.targets[0].id, made, node.lineno)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            made = _framework(modules, facts, node.value, local, hops)
            if made:
                local[node.target.id] = App(node.target.id, made, node.lineno)
    for node in ast.walk(function.node):
        if isinstance(node, ast.Return) and node.value is not None:
            made = _framework(modules, facts, node.value, local, hops)
            if made:
                return made
    return None


def factories(modules: Modules, facts: Facts) -> list[App]:
    """Functions without required parameters that return an application, known names first."""
    found: list[App] = []
    for name, function in facts.functions.items():
        if name.startswith("_") or function.required() or name in ("main", "app", "lifespan"):
            continue
        if name in fw.FACTORY_NAMES or name.endswith(("_app", "_application", "_api", "app")):
            made = factory(modules, facts, function)
            if made:
                found.append(App(name, made, function.line, factory=True))
    order = {name: index for index, name in enumerate(fw.FACTORY_NAMES)}
    return sorted(found, key=lambda app: (order.get(app.name, len(order)), app.line))


def _decorators(facts: Facts) -> list[ast.expr]:
    return [item for function in facts.functions.values() for item in function.node.decorator_list]


def _hug_route(node: ast.expr) -> bool:
    target = node.func if isinstance(node, ast.Call) else node
    while isinstance(target, (ast.Attribute, ast.Call)):
        target = target.value if isinstance(target, ast.Attribute) else target.func
    return isinstance(target, ast.Name) and target.id == "hug"
