"""Reading a list file (YAML, JSON or tfvars) into plain Python values, without surprises.

YAML readers differ in what they make of ``on``, ``010``, ``12:30`` or ``2024-01-01``: Terraform's, PyYAML's and the
next person's each give something else. This reader takes what all of them agree on, and refuses the rest with the line.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from karst.errors import UsageError

MAX_BYTES = 1 << 20
_MAX_NODES = 100_000
_BOOL = "tag:yaml.org,2002:bool"
_NULL = "tag:yaml.org,2002:null"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_DOUBTFUL = "tag:karst:doubtful"
# `- gh:owner/repo #main` would deploy the default branch without a word.
_SPACED_REF = re.compile(r"\s*(?:-\s+)?(?:slug:\s+)?((?:gh|gl|bb):[^\s#\"']+)\s+#([^\s#]+)\s*", re.ASCII)

# First match wins. What stays a plain string is text to every reader.
_RESOLVERS: list[tuple[str, str, re.Pattern[str]]] = [
    (_BOOL, "tTfF", re.compile(r"true|True|TRUE|false|False|FALSE")),
    (_NULL, "~nN\0", re.compile(r"~|null|Null|NULL|")),
    (_INT, "-+0123456789", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)),
    (_FLOAT, "-+0123456789.", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})?\.[0-9]{1,18}", re.ASCII)),
    (
        _DOUBTFUL,
        "yYnNoO",
        re.compile(r"(?i:y|yes|n|no|on|off)"),
    ),
    (
        _DOUBTFUL,
        "-+.0123456789",
        re.compile(
            r"[-+]?[0-9][0-9_]*"  # leading zeros (octal to some), underscores, more digits than a double holds
            r"|[-+]?0[xob][0-9a-fA-F_]+"
            r"|[-+]?[0-9_]*\.?[0-9_]*[eE][-+]?[0-9]+"
            r"|[-+]?[0-9][0-9_]*\.[0-9_]*"
            r"|[-+]?[0-9_]+(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # 12:30 is 750 in YAML 1.1
            r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"
            r"|[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)",
            re.ASCII,
        ),
    ),
]


class _Loader(yaml.SafeLoader):
    """SafeLoader with the resolvers above, and with duplicate keys, alias loops and alias bombs refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            line = key_node.start_mark.line + 1
            if key_node.value in seen:
                raise _Refused(f"line {line}: `{key_node.value}` is there twice (first in line {seen[key_node.value]})")
            seen[key_node.value] = line
        return super().construct_mapping(node, deep)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """PyYAML's table: first character of a plain scalar ("" for an empty one) → what it may be, in order."""
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {"<": [("tag:yaml.org,2002:merge", re.compile(r"<<\Z"))]}
    for tag, firsts, pattern in _RESOLVERS:
        for first in firsts:
            whole = re.compile(f"(?:{pattern.pattern})\\Z", pattern.flags)
            table.setdefault("" if first == "\0" else first, []).append((tag, whole))
    return table


_Loader.yaml_implicit_resolvers = _resolvers()


class Written(float):
    """A number that remembers how it was written: as text, 1.10 is not 1.1."""

    def __new__(cls, text: str) -> Written:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


class _Refused(Exception):
    """A sentence about the file's text; the caller adds the file's name."""


def _doubtful(loader: _Loader, node: yaml.ScalarNode) -> None:
    raise _Refused(
        f"line {node.start_mark.line + 1}: `{node.value}` means different things to different YAML readers: "
        f'write "{node.value}" in quotes for text, or true, false or a plain decimal number'
    )


def _float(loader: _Loader, node: yaml.ScalarNode) -> Written:
    return Written(node.value)


_Loader.add_constructor(_DOUBTFUL, _doubtful)
_Loader.add_constructor(_FLOAT, _float)


def read_text(path: Path) -> str:
    """The text of a list file; UsageError when it is absent, no file, too large, or not UTF-8."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a list", hint="name the list file in it", code="bad_list")
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(
            f"there is no list at {path}", hint="give the path of a YAML or JSON list", code="no_list"
        ) from None
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}", code="no_list") from err
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path} is larger than 1 MiB, which no list of services is", code="bad_list")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise UsageError(f"{path} is not UTF-8 text (byte {err.start})", code="bad_list") from err


def parse_yaml(text: str, where: str) -> Any:
    """Decode one YAML document; UsageError (``bad_yaml``) with the line for everything that is not plain data."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _measure(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except _Refused as err:
        raise UsageError(f"{where}, {err}", code="bad_yaml") from None
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: this is not YAML: {err.problem or err.context}", code="bad_yaml") from None
    except yaml.YAMLError as err:
        raise UsageError(f"{where} is not YAML: {str(err).splitlines()[0]}", code="bad_yaml") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply", code="bad_yaml") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as err:
        # PyYAML's own constructors stumble over things such as `!!timestamp x` or a set as a key.
        raise UsageError(f"{where} holds a value that cannot be read ({err})", code="bad_yaml") from None


def _measure(root: yaml.Node) -> None:
    """Refuse aliases that contain themselves or blow up when written out ("billion laughs")."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise _Refused(f"line {node.start_mark.line + 1}: an alias contains itself")
        open_nodes.add(id(node))
        total = 1
        if isinstance(node, yaml.SequenceNode):
            total += sum(size(item) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            total += sum(size(key) + size(value) for key, value in node.value)
        open_nodes.discard(id(node))
        if total > _MAX_NODES:
            raise _Refused(f"line {node.start_mark.line + 1}: this has more than {_MAX_NODES} values when written out")
        sizes[id(node)] = total
        return total

    size(root)


def parse_json(text: str, where: str) -> Any:
    """Decode JSON; UsageError (``bad_json``) with the line, also for a key that is there twice."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in items:
            if key in result:
                raise UsageError(f"{where}: `{key}` is there twice in one mapping", code="bad_json")
            result[key] = value
        return result

    def constant(name: str) -> Any:
        raise UsageError(f"{where}: {name} is not JSON", code="bad_json")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as err:
        raise UsageError(f"{where}, line {err.lineno}: this is not JSON: {err.msg}", code="bad_json") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply", code="bad_json") from None
    except ValueError as err:
        raise UsageError(f"{where} is not JSON ({err})", code="bad_json") from None


def read_list(path: Path) -> Any:
    """What a list file holds, whichever of the formats it is in; the caller checks that it is a list.

    ``.json`` is JSON, and ``.tfvars`` and ``.tfvars.json`` are Terraform variables of which ``slugs`` counts;
    everything else is JSON when it parses as such, and YAML otherwise.
    """
    text = read_text(path)
    name = path.name
    if name.endswith(".tfvars.json"):
        return _slugs_of(parse_json(text, name), name)
    if name.endswith(".tfvars"):
        from karst.tfvars import parse_tfvars

        return _slugs_of(parse_tfvars(text, name), name)
    if name.endswith(".json"):
        return parse_json(text, name)
    if text.lstrip().startswith(("[", "{")):
        try:
            return parse_json(text, name)
        except UsageError:
            return parse_yaml(text, name)
    for number, line in enumerate(text.splitlines(), 1):
        trap = _SPACED_REF.fullmatch(line)
        if trap:
            raise UsageError(
                f"{name}, line {number}: YAML takes `#{trap[2]}` for a comment, because there is a space before it",
                hint=f"write {trap[1]}#{trap[2]}, or `# {trap[2]}` for a comment",
                code="bad_yaml",
            )
    return parse_yaml(text, name)


def _slugs_of(variables: Any, name: str) -> Any:
    if not isinstance(variables, dict) or "slugs" not in variables:
        raise UsageError(f"{name} sets no variable `slugs`", hint='add slugs = ["gh:owner/repo"]', code="bad_list")
    return variables["slugs"]
