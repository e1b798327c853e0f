"""What one Python file says about how it is started, read off its syntax tree."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from karst.detect.source import Unparsable, parse
from karst.detect.wordset import wordset

MAX_NODES = 400_000  # nodes of one file that are looked at


@dataclass(frozen=True)
class Function:
    """A module-level function."""

    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def line(self) -> int:
        return self.node.lineno

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)

    def required(self) -> list[str]:
        """Parameters without a default: such a function is no entry point by itself."""
        spec = self.node.args
        positional = [*spec.posonlyargs, *spec.args]
        needed = positional[: len(positional) - len(spec.defaults)]
        keyword = [arg for arg, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if default is None]
        return [arg.arg for arg in (*needed, *keyword)]


@dataclass
class Facts:
    """The facts of one module.

    Attributes:
        names: what each imported or aliased name stands for, dotted (``web`` → ``aiohttp.web``).
        imported: dotted modules of absolute imports, with their line.
        relative: line of the first relative import, or 0.
        stars: modules imported with ``*``.
        functions, classes: module-level definitions.
        bound: name → calls whose result it gets, in any function of the module.
        assigned: module-level name → assigned expressions, in order.
        guard: line of ``if __name__ == "__main__":``, or 0; ``guard_body`` its statements.
        body: the module-level statements that run on import (ifs and trys flattened), without the guard.
    """

    path: str
    names: dict[str, str] = field(default_factory=dict)
    imported: dict[str, int] = field(default_factory=dict)
    relative_names: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    relative: int = 0
    stars: list[str] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    assigned: dict[str, list[ast.expr]] = field(default_factory=dict)
    guard: int = 0
    guard_body: list[ast.stmt] = field(default_factory=list)
    body: list[ast.stmt] = field(default_factory=list)
    bound: dict[str, list[ast.Call]] = field(default_factory=dict)
    error: Unparsable | None = None
    text: str = ""

    def qualified(self, node: ast.AST) -> str:
        """The dotted name of an expression with imports resolved: ``web.run_app`` → ``aiohttp.web.run_app``."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.names.get(node.id, node.id))
        return ".".join(reversed(parts))

    def imports(self, *modules: str) -> bool:
        """True when one of the modules, or a part of it, is imported anywhere in the file."""
        return any(name == module or name.startswith(module + ".") for name in self.imported for module in modules)

    def tops(self) -> dict[str, int]:
        """Top-level names of the absolute imports, with their line."""
        out: dict[str, int] = {}
        for name, line in self.imported.items():
            out.setdefault(name.split(".")[0], line)
        return out


def read(path: str, text: str) -> Facts:
    """The facts of one file; ``error`` is set when it does not parse."""
    facts = Facts(path, text=text)
    module = parse(text)
    if isinstance(module, Unparsable):
        facts.error = module
        return facts
    for count, node in enumerate(ast.walk(module)):
        if count > MAX_NODES:
            break
        _imports(facts, node)
        _bindings(facts, node)
    _statements(facts, module.body, depth=0)
    return facts


def _imports(facts: Facts, node: ast.AST) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            facts.imported.setdefault(alias.name, node.lineno)
            bound = alias.asname or alias.name.split(".")[0]
            facts.names.setdefault(bound, alias.name if alias.asname else bound)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            facts.relative = facts.relative or node.lineno
            for alias in node.names:
                facts.relative_names.setdefault(alias.asname or alias.name, (node.level, base, alias.name))
            return
        facts.imported.setdefault(base, node.lineno)
        for alias in node.names:
            if alias.name == "*":
                facts.stars.append(base)
            else:
                facts.names.setdefault(alias.asname or alias.name, f"{base}.{alias.name}")


def _bindings(facts: Facts, node: ast.AST) -> None:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        for target in node.targets:
            if isinstance(target, ast.Name):
                facts.bound.setdefault(target.id, []).append(node.value)
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        for item in node.items:
            if isinstance(item.context_expr, ast.Call) and isinstance(item.optional_vars, ast.Name):
                facts.bound.setdefault(item.optional_vars.id, []).append(item.context_expr)


def _statements(facts: Facts, body: list[ast.stmt], depth: int) -> None:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            facts.functions[node.name] = Function(node.name, node)
        elif isinstance(node, ast.ClassDef):
            facts.classes[node.name] = node
        elif isinstance(node, ast.If) and is_guard(node.test):
            if not _only_pass(node.body):
                facts.guard = facts.guard or node.lineno
                facts.guard_body.extend(node.body)
            _statements(facts, node.orelse, depth + 1)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.AsyncWith, ast.For, ast.While)) and depth < 20:
            facts.body.append(node)
            for inner in _blocks(node):
                _statements(facts, inner, depth + 1)
        else:
            _assignment(facts, node)
            facts.body.append(node)


def _assignment(facts: Facts, node: ast.stmt) -> None:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                facts.assigned.setdefault(target.id, []).append(node.value)
            elif isinstance(target, ast.Tuple) and target.elts and isinstance(target.elts[0], ast.Name):
                facts.assigned.setdefault(target.elts[0].id, []).append(node.value)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        facts.assigned.setdefault(node.target.id, []).append(node.value)


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if block:
            yield block
    for handler in getattr(node, "handlers", ()):
        yield handler.body


def is_guard(test: ast.expr) -> bool:
    """True for every spelling of the ``__main__`` test."""
    if isinstance(test, ast.BoolOp):
        return any(is_guard(value) for value in test.values)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], (ast.Eq, ast.In)):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(inner, ast.Constant) and inner.value == "__main__" for side in sides for inner in ast.walk(side)
    )


def _only_pass(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


def acts(node: ast.stmt) -> bool:
    """True for a module-level statement that does work when the file is run, not only defines."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, (ast.Call, ast.Await, ast.Yield)) and not _setup_call(node.value)
    return isinstance(node, (ast.For, ast.While, ast.With, ast.AsyncWith, ast.Raise))


# Calls that only prepare: a file whose only calls are these does nothing when it is run.
_PREPARING = wordset("""
    load_dotenv basicConfig insert append filterwarnings simplefilter seed getLogger setdefault update setLevel
    addHandler include_router add_middleware mount register_blueprint init_app add_url_rule add_resource register
    include add_route add_routes add_static config_from_object from_object from_mapping dictConfig fileConfig
    set_page_config install patch_all monkey_patch use set_option add_typer add_command configure
    add_exception_handler use_debugger extend addLevelName captureWarnings set_event_loop_policy disable_warnings
    enable register_error_handler exception_handler add_api_route add_websocket_route add_event_handler create_all
    instrument instrument_app expose
    """)


def _setup_call(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    func = node.func
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    return name in _PREPARING


def now(node: ast.AST, limit: int = 50_000) -> Iterator[ast.AST]:
    """Like ``ast.walk``, without what is only defined there: nested functions, lambdas and classes."""
    queue: deque[ast.AST] = deque([node])
    for _ in range(limit):
        if not queue:
            return
        current = queue.popleft()
        if isinstance(current, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        yield current
        queue.extend(ast.iter_child_nodes(current))
