"""Which command starts a repository, and why: from its files alone, none of which is ever imported or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from karst.detect.errors import DetectError
from karst.detect.result import Alternative, Detection

__all__ = ["Alternative", "DetectError", "Detection", "detect", "explain"]


def detect(
    source: Path,
    *,
    entrypoint: str | Sequence[str] | None = None,
    args: Sequence[str] = (),
    python_available: Sequence[str] = ("3.11",),
    dist_hint: str | None = None,
    variable: str | None = None,
    variable_source: str = "",
) -> Detection:
    """The start command of the tree at ``source``.

    Args:
        source: the folder of a checked-out repository.
        entrypoint: the list's ``entrypoint``; it beats everything in the repository.
        args: appended to the command.
        python_available: versions for which there is a base image.
        dist_hint: the repository's name, where the tree itself does not say one.
        variable: the value of ENTRYPOINT, and ``variable_source`` where it was set.

    Raises:
        DetectError: with one of ``karst.detect.errors.CODES``.
    """
    answer, _ = _run(source, entrypoint, args, python_available, dist_hint, variable, variable_source)
    if isinstance(answer, DetectError):
        raise answer
    return answer


def explain(source: Path, **given: object) -> list[tuple[str, str, str]]:
    """(rule, hit or miss or refusal, why) of every rule, in order. Takes what ``detect`` takes; never raises for a
    repository that has no start command.
    """
    names = ("entrypoint", "args", "python_available", "dist_hint", "variable", "variable_source")
    defaults: Mapping[str, object] = {"args": (), "python_available": ("3.11",), "variable_source": ""}
    values = [given.get(name, defaults.get(name)) for name in names]
    _, steps = _run(source, *values)  # type: ignore[arg-type]
    return steps


def _run(
    source: Path,
    entrypoint: str | Sequence[str] | None,
    args: Sequence[str],
    python_available: Sequence[str],
    dist_hint: str | None,
    variable: str | None,
    variable_source: str,
) -> tuple[Detection | DetectError, list[tuple[str, str, str]]]:
    from karst.detect import rules
    from karst.detect.repo import Repo

    try:
        repo = Repo.open(
            Path(source),
            entrypoint=entrypoint,
            args=tuple(args),
            python_available=tuple(python_available),
            name=dist_hint or "",
            variable=variable,
            variable_source=variable_source,
        )
    except DetectError as err:
        return err, [("manifests", "refusal", err.message)]
    answer, steps = rules.run(repo)
    return answer, [(step.rule, step.outcome, step.why) for step in steps]
