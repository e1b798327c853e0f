"""The command behind `make bench`: its parts, what it keeps, and what it makes of that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import PARTS, deploys, report, svg
from tests.bench import __main__ as bench
from tests.bench.processes import Counter
from tests.support import reports

COST = {"seconds": 2.0, "cpu": 1.0, "processes": 7}
KIT = {"plan": [COST, {**COST, "seconds": 4.0}, {**COST, "seconds": 3.0}], "again": [COST]}
RESULTS: list[dict[str, Any]] = [
    {"name": "50 services: KarstKit", "services": 50, "contender": "KarstKit", "costs": KIT},
    {"name": "50 services: bare Terraform", "services": 50, "contender": "bare Terraform", "costs": {"plan": [COST]}},
    {"name": "50 services: Compose", "services": 50, "contender": "Compose", "costs": {}, "error": "up ended with 1"},
    {"name": "1 services: KarstKit", "services": 1, "contender": "KarstKit", "costs": {"plan": [COST]}},
]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real page's text in a folder of its own, where results and pictures go, too."""
    text = (reports.ROOT / report.PAGE).read_text()
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    monkeypatch.setattr(report, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(report, "IMAGES", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / report.PAGE).write_text(text)
    return tmp_path / report.PAGE


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_functions_and_its_place_on_the_page(part: str) -> None:
    assert all(callable(getattr(report.module(part), name)) for name in ("run", "tables", "pictures"))
    assert f"<!-- begin {part} -->" in (reports.ROOT / report.PAGE).read_text()


def test_the_page_says_what_the_kept_results_say(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has typed into the tables, and no result was kept without writing the page."""
    monkeypatch.setattr(report, "FOLDER", Path(report.__file__).parent / "results")  # as kept in the repository
    before = page.read_text()
    report.write()
    assert page.read_text() == before


def test_an_unknown_part_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "deploy"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "no part `deploy`: there are deploys" in capsys.readouterr().err


def test_a_row_that_failed_fails_the_command_is_told_and_loses_no_other(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploys, "run", lambda options: iter(RESULTS))
    monkeypatch.setattr(sys, "argv", ["bench", "deploys", "--write-docs"])
    assert bench.main() == 1
    text = page.read_text()
    assert "Not measured: 50 services: Compose: up ended with 1" in text
    # Median 3 s beside 2 s.
    assert "| 50 | 3.00 | 2.00 | 1.50 × | 1.00 / 1.00 | 7 / 7 | 3 |" in text
    assert "| Nothing to do: the plan, 50 services | 1.15 × bare Terraform | 1.50 × | missed |" in text
    ElementTree.parse(page.parents[1] / "bench-deploys.svg")


def test_a_chart_has_a_mark_for_each_value_and_none_for_a_missing_one() -> None:
    panel = svg.Panel("a & b, s", [1, 10, 50], {"one": [1.0, None, 3.2], "two": [0.5, 1.0, 1.5]})
    drawn = ElementTree.fromstring(svg.lines("A < B", [panel, panel]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f".//{space}circle")) == 2 * 5
    assert "prefers-color-scheme: dark" in str(drawn.findtext(f"{space}style"))
    columns = ElementTree.fromstring(
        svg.bars("A", [svg.Panel("t", ["x", "y"], {"one": [1.0, None], "two": [2.0, 1.0]})])
    )
    assert len(columns.findall(f".//{space}g/{space}rect")) == 3


def test_the_processes_of_a_command_are_counted_and_nobody_elses() -> None:
    with Counter() as counter:
        subprocess.run(["true"], check=True)
        process = subprocess.Popen(["sh", "-c", "/bin/true; /bin/true | /bin/true; exit 0"])
        process.wait()
    if not counter.works:
        assert os.geteuid() != 0 or not Path("/proc/net/connector").exists()
        pytest.skip("the kernel's notes of forks are root's")
    assert counter.count(process.pid) == 4
