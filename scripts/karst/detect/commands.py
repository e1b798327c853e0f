"""A command line that somebody wrote (Procfile, Dockerfile, ``entrypoint:``), understood without a shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from karst.detect.wordset import wordset

# What only a shell could do. ``&&`` and ``;`` are handled apart: the last command is the one that stays.
_SHELL = re.compile(r"\|\||[|<>`]|\$\(|(?<!&)&(?!&)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?[-=]([^}$]*))?\}|(\w+))")
_ASSIGNMENT = re.compile(r"\A[A-Za-z_]\w*=")

PYTHONS = re.compile(r"\A(?:python(?:3(?:\.\d+)?)?|pypy3?)\Z")
SERVERS = wordset("""
    gunicorn uvicorn hypercorn daphne waitress-serve granian sanic streamlit chainlit flask uwsgi newrelic-admin
    """)
FOREIGN = wordset("""
    node npm npx yarn pnpm bun deno java php ruby bundle rails rake go dotnet mix elixir cargo nginx apache2 httpd
    """)
_WRAPPERS = (["poetry", "run"], ["pipenv", "run"], ["uv", "run"], ["pdm", "run"], ["rye", "run"], ["hatch", "run"])


class NeedsShell(Exception):
    """The command uses something that only a shell understands; the text says what."""


@dataclass(frozen=True)
class Command:
    """One command without its shell clothes.

    Attributes:
        argv: the words, ``$PORT`` and ``$HOST`` as the tokens ``${PORT}`` and ``${HOST}``.
        env: assignments written before it.
        folder: where a leading ``cd`` goes, or "".
        before: the commands in front of the last ``&&`` or ``;``: they are not run.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    before: tuple[str, ...] = ()


def parse(text: str) -> Command:
    """Split a command line. Raises NeedsShell for pipes, redirections, substitutions, unknown variables."""
    bare = _without_quotes(text)
    operator = _SHELL.search(bare)
    if operator:
        raise NeedsShell(f"`{operator.group(0)}`")
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&")
        lexer.whitespace_split = True
        lexer.commenters = ""
        words = list(lexer)
    except ValueError as err:
        raise NeedsShell(f"unbalanced quotes ({err})") from None
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";"):
            parts.append([])
        elif set(word) & set("&;") and set(word) <= set("&;"):
            raise NeedsShell(f"`{word}`")
        else:
            parts[-1].append(word)
    parts = [part for part in parts if part]
    if not parts:
        raise NeedsShell("nothing to run")
    folder = ""
    while len(parts) > 1 and parts[0][0] == "cd" and len(parts[0]) == 2:
        folder = f"{folder}/{parts.pop(0)[1]}".strip("/").removeprefix("./")
    *before, last = parts
    return _simple(last, folder, tuple(shlex.join(part) for part in before))


def words(argv: list[str]) -> Command:
    """The same for a list: exec form has no shell, so that every word stands for itself."""
    if len(argv) == 3 and argv[0].rpartition("/")[2] in ("sh", "bash", "dash") and argv[1] in ("-c", "-lc", "-ec"):
        return parse(argv[2])
    return _simple(list(argv), "", ())


def _simple(argv: list[str], folder: str, before: tuple[str, ...]) -> Command:
    env: dict[str, str] = {}
    while argv and (argv[0] in ("exec", "env", "command", "nohup", "time") or _ASSIGNMENT.match(argv[0])):
        word = argv.pop(0)
        if _ASSIGNMENT.match(word):
            key, _, value = word.partition("=")
            env[key] = value
    for wrapper in _WRAPPERS:
        if argv[: len(wrapper)] == wrapper:
            argv = argv[len(wrapper) :]
            while argv and argv[0] in ("--", "--no-sync", "--frozen", "--no-dev", "--locked"):
                argv.pop(0)
    if argv[:2] in (["newrelic-admin", "run-program"], ["ddtrace-run"], ["opentelemetry-instrument"]):
        argv = argv[2:]
    elif argv[:1] in (["ddtrace-run"], ["opentelemetry-instrument"], ["dumb-init"], ["tini"]):
        argv = argv[1:]
    if not argv:
        raise NeedsShell("nothing to run")
    return Command(tuple(_expand(word) for word in argv), {k: _expand(v) for k, v in env.items()}, folder, before)


def _expand(word: str) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match.group(1) or match.group(3), match.group(2)
        if name in ("PORT", "HOST"):
            return "${" + name + "}"
        if default is not None:
            return default
        raise NeedsShell(f"the variable ${name}")

    return _VARIABLE.sub(value, word)


def _without_quotes(text: str) -> str:
    """The text with single- and double-quoted parts blanked: operators in there are plain characters."""
    return re.sub(r"'[^']*'|\"[^\"$`]*\"", lambda match: " " * len(match.group(0)), text)
