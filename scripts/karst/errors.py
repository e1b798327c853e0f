"""The one exception root, and the exit codes every command of the kit uses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, the same for every command (listed in docs/cli.md)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BUSY = 3
    AUTH = 4
    UNHEALTHY = 5
    UNKNOWN = 6
    INTERRUPTED = 130


class KarstError(Exception):
    """One clear sentence for a person: what is wrong, where, and what to do about it.

    Attributes:
        message: what is wrong and where, one sentence.
        hint: what to do about it, or "".
        code: a stable machine word (``unknown_key``, ``ref_not_found`` …).
        exit_code: the process's exit code when nobody catches it.
        parts: of an error that stands for several services, the error of each.
    """

    exit_code: Exit = Exit.FAILED

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "failed",
        exit_code: Exit | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.parts: dict[str, KarstError] = {}
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(KarstError):
    """The caller's input is wrong: nothing was changed."""

    exit_code = Exit.USAGE


class BusyError(KarstError):
    """Somebody else holds what this command needs."""

    exit_code = Exit.BUSY


class UnhealthyError(KarstError):
    """A service is not SERVING."""

    exit_code = Exit.UNHEALTHY


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean `x`?`` for the nearest known word, or ""."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""
