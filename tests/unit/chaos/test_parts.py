"""The command behind `make chaos`: its parts, its results, and the tables that are made of them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import __main__ as chaos
from tests.chaos import flood, report, results
from tests.chaos.scenario import lost

GROUP = {"sent": 5400, "failed": 0, "p50_ms": 2.0, "p99_ms": 9.0, "down_seconds": 0.0, "versions": {"v1": [0, 20, 9]}}
RESULT: dict[str, Any] = {
    "name": "good deploy",
    "path": "edge",
    "seconds": 17.2,
    "groups": {"edge|HTTP": {**GROUP, "failed": 3}, "edge|gRPC": GROUP, "edge|beyond": {**GROUP, "failed": 2}},
    "failures": [["edge|beyond|server-sent", 20.0, "after", 21000.0, "closed"]],
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(report, "DOCS", tmp_path)
    for page in ("reliability.md", "hosts.md", "swarm.md"):
        (tmp_path / page).write_text((report_docs() / page).read_text())
    return tmp_path / "reliability.md"


def report_docs() -> Path:
    return Path(chaos.__file__).parents[2] / "docs"


@pytest.mark.parametrize("part", chaos.PARTS)
def test_every_part_can_be_run_and_has_a_place_in_the_docs(part: str) -> None:
    assert callable(importlib.import_module(f"tests.chaos.{part}").run)
    assert f"<!-- {part}: begin -->" in report.page_of(part).read_text()
    assert part in report.TABLES


def test_an_unknown_part_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", "deploy"])
    with pytest.raises(SystemExit):
        chaos.main()
    assert "no part `deploy`: there are deploys, rotations" in capsys.readouterr().err


def test_a_failed_request_fails_the_command_and_is_in_the_table(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not the streams that were meant to be cut. A second run of a scenario takes the first one's place."""
    deploys = importlib.import_module("tests.chaos.deploys")
    monkeypatch.setattr(deploys, "run", lambda paths, only: iter([RESULT, RESULT]))
    monkeypatch.setattr(sys, "argv", ["chaos", "deploys", "--write-docs"])
    assert lost(RESULT) == 3
    assert chaos.main() == 1
    text = kept.read_text()
    assert text.count("| good deploy | edge | 3 / 5,400 | 0 / 5,400 |") == 1
    assert "| edge | server-sent | 21 |" in text
    assert "<!-- rotations: begin -->" in text


@pytest.mark.parametrize(
    ("one", "fate"),
    [
        ({"code": 200, "headers": None}, ("answered", "")),
        ({"code": 200, "headers": {"Grpc-Status": ["14"]}}, ("refused", "gRPC status 14")),
        ({"code": 200, "headers": {"Grpc-Status": ["13"]}, "error": ""}, ("broken", "status 200, gRPC 13")),
        ({"code": 503, "headers": {}, "error": "503 Service Unavailable"}, ("refused", "status 503")),
        ({"code": 0, "headers": {}, "error": "EOF"}, ("broken", "EOF")),
    ],
)
def test_a_flood_tells_answers_from_refusals_and_from_all_else(one: dict[str, Any], fate: tuple[str, str]) -> None:
    assert flood.fate(one) == fate


def test_the_docs_say_of_an_overload_what_the_flood_got() -> None:
    counts = {"answered": 1200, "refused": 800, "broken": 1, "answered_ms": {"p50": 900.0, "p99": 1900.0}}
    one = {"name": "overload 3 times", "path": "both", "rate": 3576, "recovered_after": 1.5, "crashed": False}
    one |= {"groups": {"edge|HTTP": {**GROUP, "failed": 3}}}
    one |= {"flood": [{"door": "edge", "grpc": False, **counts, "errors": {"EOF": 1}}]}
    text = report.overload(one)
    assert "| HTTP, edge | answered | 1,200 | 900 | 1,900 |" in text
    assert "| HTTP, edge | refused | 800 |  |  |" in text
    assert "3 of 5,400 failed" in text
    assert "| EOF | 1 |" in text


def test_the_docs_say_what_a_killed_host_cost_and_when_it_left_rotation() -> None:
    """Long requests are not in the share: those on the host are lost with it, however few they are."""
    groups = {f"{path}|{kind}": {**GROUP, "failed": 27} for path in ("caller", "edge") for kind in ("HTTP", "gRPC")}
    groups["caller|long"] = {**GROUP, "failed": 9}
    killed = {"name": "a host killed", "path": "both", "groups": groups, "change": {}, "out_of_rotation_after": 3.2}
    asked = {"name": "who answers", "answers": {"web": {"a/web-pod-1": "web  SERVING  dir-1  port 8000"}}, "change": {}}
    text = report.hosts([asked, killed, {"name": "plan after all of it", "pending": 0, "change": {}}])
    assert "| a host killed | 27 / 5,400, 27 / 5,400 | 27 / 5,400, 27 / 5,400 | 0.50 % | 9 | 3.2 | – |" in text
    assert "| web | a | SERVING |" in text
    assert "The plan after all of it is empty." in text


def test_the_docs_say_when_a_swarm_had_everything_running_again_and_why_it_took_a_version_back() -> None:
    groups = {f"{path}|{kind}": GROUP for path in ("caller", "edge") for kind in ("HTTP", "gRPC")}
    killed = {"name": "a host killed", "path": "both", "groups": groups, "change": {"rescheduled_after": 24.5}}
    bad = {
        "name": "bad",
        "path": "both",
        "groups": groups,
        "change": {"seconds": 61.2, "reason": "web is not healthy: x"},
    }
    text = report.swarm([{**killed, "out_of_rotation_after": 1.9}, bad])
    assert "| 1.9 | 24.5 | – |" in text
    assert "| – | – | 61 |" in text
    assert "said: `web is not healthy: x`" in text
