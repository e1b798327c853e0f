"""Python source to syntax tree, for files nobody vouches for."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass


@dataclass(frozen=True)
class Unparsable:
    """Why a file is no Python of this version, and where."""

    line: int
    message: str


def parse(text: str) -> ast.Module | Unparsable:
    """The syntax tree, or where and why there is none. Never raises, whatever the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            return ast.parse(text.removeprefix("\ufeff"))
    except SyntaxError as err:
        return Unparsable(max(1, err.lineno or 1), (err.msg or "invalid syntax").split("\n")[0])
    except RecursionError:
        return Unparsable(1, "nested too deeply")
    except MemoryError:
        return Unparsable(1, "nested too deeply")
    except (ValueError, OverflowError, UnicodeError) as err:
        return Unparsable(1, str(err).split("\n")[0] or "not Python source")


def version_hint(text: str, error: Unparsable) -> str:
    """What the failing line looks like: Python 2, or syntax newer than ours."""
    lines = text.splitlines()
    line = lines[error.line - 1].strip() if 0 < error.line <= len(lines) else ""
    if "Missing parentheses in call to" in error.message or "multiple exception types" in error.message:
        return "this is Python 2, which has had no releases since 2020: port it, or give another `entrypoint:`"
    if line.startswith("type ") or (line.startswith(("def ", "class ", "async def ")) and "[" in line.split("(")[0]):
        return "this is syntax of Python 3.12 or later: set `python:` to a version that has a base image"
    if "f-string" in error.message:
        return "quotes nested in f-strings need Python 3.12 or later: set `python:` to a version that has a base image"
    return "fix the file, or name another start with `entrypoint:`"
