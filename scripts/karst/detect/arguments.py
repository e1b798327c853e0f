"""Does a start need arguments? Only what is certain counts: a doubt means no."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from karst.detect.facts import Facts, Function, now
from karst.detect.modules import Modules
from karst.detect.reach import Block, always, called

MAX_HOPS = 4


@dataclass(frozen=True)
class Need:
    """A required argument and where it is declared."""

    path: str
    line: int
    what: str


def needed(modules: Modules, start: Sequence[Block]) -> Need | None:
    """The first argument without which the start ends in a usage message."""
    for block in _certain(modules, start):
        found = _argv(block) or _argparse(modules, block) or _typer_run(modules, block)
        if found:
            return found
    return None


def needed_by_function(modules: Modules, facts: Facts, function: Function) -> Need | None:
    """The same for a console script's function, whose decorators count as well."""
    found = _click(facts, function)
    if found or _is_click(facts, function):
        return found
    return needed(modules, [Block(facts, tuple(function.node.body), 0, function.name)])


def _certain(modules: Modules, start: Sequence[Block]) -> Iterator[Block]:
    """The blocks that run whatever the input."""
    queue = list(start)
    seen: set[tuple[str, str]] = set()
    while queue and len(seen) < 40:
        block = queue.pop(0)
        yield block
        if block.hops >= MAX_HOPS:
            continue
        for statement in always(block.nodes):
            if isinstance(statement, (ast.If, ast.For, ast.While, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            for node in now(statement):
                target = called(modules, block.facts, node) if isinstance(node, ast.Call) else None
                if target and (target[0].path, target[1].name) not in seen:
                    seen.add((target[0].path, target[1].name))
                    facts, function = target
                    queue.append(Block(facts, tuple(function.node.body), block.hops + 1, function.name))


def _argv(block: Block) -> Need | None:
    """``sys.argv[1]`` read before anything asked how many there are."""
    for statement in always(block.nodes):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(statement, (ast.If, ast.While, ast.For, ast.Match, ast.Assert)):
            if any(_is_argv(block.facts, node) for node in now(statement)):
                return None
            continue
        for node in now(statement):
            if isinstance(node, (ast.IfExp, ast.BoolOp, ast.Lambda)):
                return None
            if (
                isinstance(node, ast.Subscript)
                and _is_argv(block.facts, node.value)
                and _index(node.slice) not in (None, 0)
            ):
                guarded = any(isinstance(top, ast.Try) and statement in top.body for top in block.nodes)
                return None if guarded else Need(block.facts.path, node.lineno, f"sys.argv[{_index(node.slice)}]")
    return None


def _index(node: ast.expr) -> int | None:
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    return sign * node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _is_argv(facts: Facts, node: ast.AST) -> bool:
    return facts.qualified(node) == "sys.argv"


def _argparse(modules: Modules, block: Block) -> Need | None:
    """A positional of ``ArgumentParser`` in a block that also parses, or whose parser a certain block parses."""
    facts = block.facts
    if not facts.imports("argparse") and "argparse" not in facts.text:
        return None
    parsers: set[str] = set()
    required: Need | None = None
    parses = False
    for statement in always(block.nodes):
        for node in now(statement):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and isinstance(node.targets[0], ast.Name)
            ):
                made = facts.qualified(node.value.func)
                attr = node.value.func.attr if isinstance(node.value.func, ast.Attribute) else ""
                owner = node.value.func.value if isinstance(node.value.func, ast.Attribute) else None
                if made.endswith("ArgumentParser") or (
                    attr == "add_argument_group" and isinstance(owner, ast.Name) and owner.id in parsers
                ):
                    parsers.add(node.targets[0].id)
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner_name = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if owner_name not in parsers:
                continue
            if node.func.attr == "add_argument" and not isinstance(statement, (ast.If, ast.For, ast.While)):
                required = required or _required(facts, node)
            elif node.func.attr == "add_subparsers" and _keyword(node, "required") is True:
                required = required or Need(facts.path, node.lineno, "a subcommand")
            elif node.func.attr in ("parse_args", "parse_known_args"):
                parses = parses or not node.args
    returned = any(
        isinstance(node, ast.Return) and isinstance(node.value, ast.Name) and node.value.id in parsers
        for node in block.nodes
    )
    return required if parses or (returned and block.hops > 0) else None


def _required(facts: Facts, node: ast.Call) -> Need | None:
    names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if not names or len(names) != len(node.args):
        return None
    if names[0].startswith("-"):
        return Need(facts.path, node.lineno, names[-1]) if _keyword(node, "required") is True else None
    words = {word.arg: word.value for word in node.keywords}
    if None in words:
        return None
    if "nargs" in words:
        nargs = words["nargs"]
        if not isinstance(nargs, ast.Constant) or nargs.value in ("?", "*", "..."):
            return None
    if any(
        isinstance(word, ast.Constant) and word.value in ("help", "version")
        for key, word in words.items()
        if key == "action"
    ):
        return None
    return Need(facts.path, node.lineno, names[0])


def _keyword(node: ast.Call, name: str) -> object:
    for word in node.keywords:
        if word.arg == name and isinstance(word.value, ast.Constant):
            return word.value.value
    return None


def _is_click(facts: Facts, function: Function) -> bool:
    return any(
        _decorator(facts, item).endswith((".command", ".group"))
        or _decorator(facts, item) in ("click.command", "click.group")
        for item in function.node.decorator_list
    )


def _decorator(facts: Facts, node: ast.expr) -> str:
    return facts.qualified(node.func if isinstance(node, ast.Call) else node)


def _click(facts: Facts, function: Function) -> Need | None:
    if not any(
        _decorator(facts, item) in ("click.command", "rich_click.command") for item in function.node.decorator_list
    ):
        return None
    for item in function.node.decorator_list:
        if not isinstance(item, ast.Call):
            continue
        kind = _decorator(facts, item)
        names = [arg.value for arg in item.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        words = {word.arg for word in item.keywords}
        if not names or words & {"default", "envvar", "prompt", "nargs", None, "is_eager", "callback", "cls"}:
            continue
        if kind in ("click.argument", "rich_click.argument") and _keyword(item, "required") is not False:
            return Need(facts.path, item.lineno, names[0])
        if kind in ("click.option", "rich_click.option") and _keyword(item, "required") is True:
            return Need(facts.path, item.lineno, next((n for n in names if n.startswith("--")), names[0]))
    return None


def _typer_run(modules: Modules, block: Block) -> Need | None:
    """``typer.run(f)`` and ``fire.Fire(f)`` turn f's parameters into arguments; a click command is just called."""
    for statement in always(block.nodes):
        for node in now(statement):
            if not isinstance(node, ast.Call):
                continue
            dotted = block.facts.qualified(node.func)
            if dotted in ("typer.run", "fire.Fire") and node.args and isinstance(node.args[0], ast.Name):
                function = block.facts.functions.get(node.args[0].id)
                names = (
                    [name for name in function.required() if name not in ("ctx", "context", "self")] if function else []
                )
                if function and names:
                    return Need(block.facts.path, function.line, names[0])
            elif isinstance(node.func, ast.Name) and not isinstance(statement, (ast.If, ast.For, ast.While)):
                target = called(modules, block.facts, node)
                found = _click(*target) if target and not node.args else None
                if found:
                    return found
    return None
