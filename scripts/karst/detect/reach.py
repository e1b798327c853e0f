"""What runs when a file is started: its statements and the functions they call, followed through the tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from karst.detect.facts import Facts, Function, now
from karst.detect.modules import Modules

MAX_HOPS = 4
MAX_FUNCTIONS = 60


@dataclass(frozen=True)
class Block:
    """Statements that run, the module they are in, and how many calls away from the start they are."""

    facts: Facts
    nodes: tuple[ast.stmt, ...]
    hops: int
    where: str  # "guard", "top", or the function's name


def start_blocks(facts: Facts) -> list[Block]:
    """What ``python file`` runs: the module's statements, then its guard."""
    blocks = [Block(facts, tuple(facts.body), 0, "top")]
    if facts.guard_body:
        blocks.append(Block(facts, tuple(facts.guard_body), 0, "guard"))
    return blocks


def function_block(facts: Facts, function: Function) -> Block:
    return Block(facts, tuple(function.node.body), 0, function.name)


def reachable(modules: Modules, start: Sequence[Block]) -> Iterator[Block]:
    """The start and every function of the tree it calls, near ones first."""
    queue = list(start)
    seen: set[tuple[str, str]] = set()
    done = 0
    while queue and done < MAX_FUNCTIONS:
        block = queue.pop(0)
        done += 1
        yield block
        if block.hops >= MAX_HOPS:
            continue
        for node in _calls(block.nodes):
            target = called(modules, block.facts, node)
            if target and (target[0].path, target[1].name) not in seen:
                seen.add((target[0].path, target[1].name))
                queue.append(Block(target[0], tuple(target[1].node.body), block.hops + 1, target[1].name))


def _calls(nodes: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    for top in nodes:
        for node in now(top):
            if isinstance(node, ast.Call):
                yield node


def called(modules: Modules, facts: Facts, call: ast.Call) -> tuple[Facts, Function] | None:
    """The function of the tree that a call means: local, imported by name, or an attribute of an imported module."""
    func = call.func
    if isinstance(func, ast.Name):
        return function_named(modules, facts, func.id)
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        origin = modules.imported_from(facts, func.value.id)
        if origin and not origin[1]:
            return function_named(modules, modules.facts(origin[0]), func.attr)
        if isinstance(func.value, ast.Name) and func.attr in ("main", "run", "cli", "start", "serve"):
            located = modules.locate(facts, facts.qualified(func)) if func.value.id in facts.names else None
            if located and located[1]:
                return function_named(modules, modules.facts(located[0]), located[1])
    return None


def function_named(modules: Modules, facts: Facts, name: str, hops: int = 4) -> tuple[Facts, Function] | None:
    """A function by its name in a module, followed through imports."""
    if name in facts.functions:
        return facts, facts.functions[name]
    if hops == 0:
        return None
    origin = modules.imported_from(facts, name)
    if origin and origin[1] and (origin[0] != facts.path or origin[1] != name):
        return function_named(modules, modules.facts(origin[0]), origin[1], hops - 1)
    return None


def always(nodes: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run whatever the input: those of ``with`` and ``try`` bodies too, of no ``if`` or loop."""
    for node in nodes:
        if isinstance(node, (ast.With, ast.AsyncWith, ast.Try)):
            yield from always(node.body)
        else:
            yield node
        if isinstance(node, (ast.Return, ast.Raise)):
            return
        if isinstance(node, (ast.If, ast.For, ast.While)) and _leaves(node):
            return


def _leaves(node: ast.stmt) -> bool:
    """True when the statement may end the function, so that nothing after it is certain."""
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Return, ast.Raise)):
            return True
        if isinstance(inner, ast.Call):
            name = inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
            if name in ("exit", "_exit", "quit", "abort"):
                return True
    return False
