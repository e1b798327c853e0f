"""The value of an expression as far as it can be known without running anything."""

from __future__ import annotations

import ast

MAX_DEPTH = 30
MAX_STEPS = 20_000  # names that refer to each other could otherwise grow without bound


class _Unknown:
    """A part that only running the code could tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


class Literals:
    """Resolves literals, module-level names, sums, and plain ``{}``/``%`` formatting of them."""

    def __init__(self, module: ast.Module) -> None:
        self._steps = 0
        self._names: dict[str, ast.expr] = {}
        self._added: dict[str, list[tuple[ast.expr, ast.expr]]] = {}
        for node in ast.walk(module):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name):
                    self._names.setdefault(target.id, node.value)
                elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    self._added.setdefault(target.value.id, []).append((target.slice, node.value))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self._names.setdefault(node.target.id, node.value)

    def value(self, node: ast.expr, depth: int = 0) -> object:
        """The value, with ``UNKNOWN`` for what cannot be told."""
        self._steps += 1
        if depth > MAX_DEPTH or self._steps > MAX_STEPS:
            return UNKNOWN
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            items: list[object] = []
            for item in node.elts:
                inner = self.value(item.value if isinstance(item, ast.Starred) else item, depth + 1)
                if isinstance(item, ast.Starred):
                    items.extend(inner if isinstance(inner, list) else [UNKNOWN])
                else:
                    items.append(inner)
            return items
        if isinstance(node, ast.Dict):
            return self._dict(node, depth)
        if isinstance(node, ast.Name):
            if node.id not in self._names:
                return UNKNOWN
            value = self.value(self._names[node.id], depth + 1)
            if isinstance(value, dict):
                for key, item in self._added.get(node.id, ()):
                    known = self.value(key, depth + 1)
                    if isinstance(known, str):
                        value.setdefault(known, self.value(item, depth + 1))
            return value
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.value(node.left, depth + 1), self.value(node.right, depth + 1)
            if isinstance(left, str) and isinstance(right, str):
                return left + right if len(left) + len(right) < 1 << 20 else UNKNOWN
            if isinstance(left, list) or isinstance(right, list):
                return [*(left if isinstance(left, list) else []), *(right if isinstance(right, list) else [])]
            return UNKNOWN
        if isinstance(node, ast.JoinedStr):
            return self._joined(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        return UNKNOWN

    def _dict(self, node: ast.Dict, depth: int) -> dict[str, object]:
        out: dict[str, object] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            inner = self.value(value, depth + 1)
            if key is None:
                out.update(inner if isinstance(inner, dict) else {})
            else:
                name = self.value(key, depth + 1)
                if isinstance(name, str):
                    out[name] = inner
        return out

    def _joined(self, node: ast.JoinedStr, depth: int) -> object:
        parts: list[str] = []
        for item in node.values:
            value = self.value(item.value if isinstance(item, ast.FormattedValue) else item, depth + 1)
            if not isinstance(value, (str, int)):
                return UNKNOWN
            parts.append(str(value))
        return "".join(parts)

    def _call(self, node: ast.Call, depth: int) -> object:
        if isinstance(node.func, ast.Name) and node.func.id == "dict":
            return {word.arg: self.value(word.value, depth + 1) for word in node.keywords if word.arg}
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            base = self.value(node.func.value, depth + 1)
            given = [self.value(item, depth + 1) for item in node.args]
            words = {word.arg: self.value(word.value, depth + 1) for word in node.keywords if word.arg}
            known = [*given, *words.values()]
            if isinstance(base, str) and all(isinstance(item, str) for item in known) and "{0." not in base:
                return self._format(base, [str(item) for item in given], {k: str(v) for k, v in words.items()})
        return UNKNOWN

    @staticmethod
    def _format(base: str, given: list[str], words: dict[str, str]) -> object:
        out = base
        for index, item in enumerate(given):
            out = out.replace(f"{{{index}}}", item).replace("{}", item, 1)
        for key, item in words.items():
            out = out.replace(f"{{{key}}}", item)
        return out if len(out) < 1 << 20 else UNKNOWN
