"""The refusals of the detector: each is an answer of its own, with a code, a place and a way out."""

from __future__ import annotations

from collections.abc import Sequence

from karst.errors import KarstError

# Every code a detection can end with; docs/detection.md explains each with an example.
CODES = (
    "not_python",
    "no_entrypoint",
    "library",
    "monorepo",
    "ambiguous",
    "needs_python",
    "does_not_parse",
    "needs_arguments",
    "bad_entrypoint",
    "bad_dockerfile",
    "no_source",
)


class DetectError(KarstError):
    """No start command, and why.

    Attributes:
        evidence: ``file:line`` (or a file) the refusal rests on, or "".
        candidates: what the user can choose from: folders of a monorepo, entry points of an ambiguous tree.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        evidence: str = "",
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.evidence = evidence
        self.candidates = tuple(candidates)

    def report(self) -> dict[str, object]:
        """What ``scripts/detect`` prints under ``error``."""
        body: dict[str, object] = dict(self.to_dict())
        if self.evidence:
            body["evidence"] = self.evidence
        if self.candidates:
            body["candidates"] = list(self.candidates)
        return body


def listed(names: Sequence[str], limit: int = 6) -> str:
    """``a, b and c``; long lists end with ``and 3 more``."""
    shown = list(names[:limit])
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    if len(shown) > 1:
        return f"{', '.join(shown[:-1])} and {shown[-1]}"
    return shown[0] if shown else ""
