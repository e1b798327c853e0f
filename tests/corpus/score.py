"""Compare the detector's answer with a person's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from karst.detect import DetectError, detect
from tests.corpus import sources

HERE = Path(__file__).parent
SETS = {
    "build": HERE / "build.yaml",
    "first-round": HERE / "first-round.yaml",
    "second-round": HERE / "second-round.yaml",
    "held-out": HERE / "held-out.yaml",
    "third-round": HERE / "third-round.yaml",
    "fourth-round": HERE / "fourth-round.yaml",
    "fifth-round": HERE / "fifth-round.yaml",
}


@dataclass(frozen=True)
class Case:
    """One repository.

    Attributes:
        source: ``pypi:NAME==VERSION`` or ``gh:owner/name@commit``.
        expect: what a reader accepts: ``module a.b``, ``file x.py``, ``app m:a``, ``script s``, ``streamlit f``,
            ``command …``, or ``refuse code``.
        why: what the reader saw.
        given: ``entrypoint``, ``args`` where the case has them.
    """

    source: str
    expect: tuple[str, ...]
    why: str

    @property
    def name(self) -> str:
        return self.source.partition(":")[2].partition("@")[0]


@dataclass(frozen=True)
class Result:
    """One answer: ``right``, ``refused`` (a refusal where there was a start), ``wrong``, or ``skipped``."""

    case: Case
    verdict: str
    answer: str
    detail: str = ""


def load(path: Path) -> list[Case]:
    """The cases of one file."""
    cases: list[Case] = []
    for item in yaml.safe_load(path.read_text()):
        expect = item["expect"]
        cases.append(Case(item["source"], (expect,) if isinstance(expect, str) else tuple(expect), item["why"]))
    return cases


def started(argv: Sequence[str]) -> str:
    """What a command starts, without the flags around it."""
    words = list(argv)
    if words[0] == "python":
        if words[1] == "-m":
            return f"module {words[2]}"
        if words[1] == "-c":
            match = re.search(r"from ([\w.]+) import (\w+)", words[2])
            kind = "app" if ".run(host=" in words[2] else "function"
            return f"{kind} {match.group(1)}:{match.group(2)}" if match else "command python"
        return f"file {words[1].removeprefix('/app/')}"
    if words[0] in ("uvicorn", "gunicorn", "sanic", "hypercorn"):
        specs = [word for word in words[1:] if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(.*\))?", word)]
        specs += [
            word for word in words[1:] if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", word) and not word.endswith(".py")
        ]
        if specs:
            spec = re.sub(r"\(.*\)", "", specs[0])
            return f"app {spec if ':' in spec else spec + ':application'}"
    if words[0] in ("streamlit", "chainlit", "panel", "shiny", "solara"):
        file = next((word for word in words if word.endswith(".py")), "")
        return f"{words[0]} {file.removeprefix('/app/')}"
    if words == ["/app/main"]:
        return "binary main"
    return f"script {words[0]}" if len(words) == 1 else f"command {' '.join(words)}"


def judge(case: Case) -> Result:
    """Ask the detector about one case."""
    try:
        root = sources.checkout(case.source)
    except sources.Unavailable as err:
        return Result(case, "skipped", "", str(err))
    detail = ""
    try:
        found = detect(root, dist_hint=case.name.rpartition("/")[2].partition("==")[0])
        answer, detail = started(found.argv), f"{found.rule}: {found.reason} ({found.evidence})"
    except DetectError as err:
        answer, detail = f"refuse {err.code}", err.message
    if answer in case.expect:
        return Result(case, "right", answer, detail)
    return Result(case, "refused" if answer.startswith("refuse ") else "wrong", answer, detail)


def totals(results: Sequence[Result]) -> dict[str, Any]:
    """Counts and the share of right answers among those that could be asked."""
    counts = {
        verdict: sum(r.verdict == verdict for r in results) for verdict in ("right", "refused", "wrong", "skipped")
    }
    asked = len(results) - counts["skipped"]
    return {**counts, "asked": asked, "share": counts["right"] / asked if asked else 0.0}
