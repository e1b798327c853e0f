"""Histories of generations, and the file that holds services at one of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from karst import fetch, generations
from karst.detect import command
from karst.errors import UsageError
from karst.external import FAILURES, guarded
from karst.generations import FAILED, OK, REMOVED, Generation
from karst.render import handle as render

IMAGES = {"base_image": "python:3.11-slim", "runner_image": "runner", "builder_image": "builder"}
MAIN = 'def main():\n    print("hello")\n\n\nif __name__ == "__main__":\n    main()\n'


def made(revision: str, outcome: str = OK, **entry: Any) -> Generation:
    return Generation(
        service="web",
        at="2030-01-01T00:00:00+00:00",
        outcome=outcome,
        generation=f"g-{revision}",
        revision=revision,
        image=f"karst/web:{revision}",
        fetched={"name": "web", "slug": "dir:gone", "revision": revision, "source": f"/cache/{revision}", **entry},
        detection={"argv": ["python", "main.py"]},
        rendered={"tag": f"karst/web:{revision}", "input_hash": revision},
    )


def test_a_history_is_read_as_it_was_written_and_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    """A power cut in the middle of a line: what was there stays, and the next line is one of its own."""
    generations.append(tmp_path, made("a"))
    with (tmp_path / "web.jsonl").open("a") as handle:
        handle.write('{"service": "web", "at"')
    generations.append(tmp_path, made("b"))
    assert generations.read(tmp_path, "web") == [made("a"), made("b")]
    assert generations.services(tmp_path) == ["web"]
    assert generations.read(tmp_path, "other") == []
    assert (tmp_path / "web.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("history", "revision"),
    [
        ([made("a"), made("b")], "b"),
        ([made("a"), made("b", FAILED)], "a"),
        ([made("a"), made("b"), made("a")], "a"),
        ([made("a", FAILED)], None),
        ([made("a"), made("", REMOVED)], None),
        ([made("a"), made("", REMOVED), made("b", FAILED)], None),
        ([made("a"), made("", REMOVED), made("b")], "b"),
        ([], None),
    ],
)
def test_the_last_good_generation_is_the_last_one_that_was_let_through(
    history: list[Generation], revision: str | None
) -> None:
    """One that the gate refused is none, and a service that was taken down has none."""
    good = generations.last_good(history)
    assert (good.revision if good else None) == revision


@pytest.mark.parametrize(
    ("caller", "told"),
    [
        ("alice@example.org", "alice@example.org"),
        ("user:7f1c-22", "user:7f1c-22"),
        ("eve\x1b[2J\n*  ok", "eve??2J????ok"),
        ("x" * 500, "x" * 80),
    ],
)
def test_a_run_of_the_admin_app_is_its_callers(caller: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no name steers the terminal that it is shown in."""
    monkeypatch.setenv(generations.CALLER, caller)
    assert generations.user() == told


def test_what_a_rollback_chooses_from_is_each_content_once_by_its_first_time() -> None:
    """After a rollback from c to b, the generation before b is a. Another kit with the same image is no choice."""
    history = [made("a"), made("b"), replace(made("b"), generation="new kit"), made("c"), made("x", FAILED), made("b")]
    assert [one.revision for one in generations.distinct(history)] == ["c", "b", "a"]
    changed = [made("a"), made("a", env={"A": "1"})]
    assert len(generations.distinct(changed)) == 2, "another environment is another generation"


def test_held_services_are_answered_without_being_fetched_and_left_out_ones_are_not(tmp_path: Path) -> None:
    """Two of three folders are not there; what was recorded goes through fetch, detect and render unchanged."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "main.py").write_text(MAIN)
    (tmp_path / "repos.yaml").write_text("- dir:good\n- {slug: 'dir:gone', name: web}\n- dir:never\n")
    held = tmp_path / "held.json"
    generations.write_held(held, {"web": made("a").pin(built=True), "never": None})
    query = {"slugs_file": str(tmp_path / "repos.yaml"), "held_file": str(held)}
    services = json.loads(fetch.handle(query)["services"])
    assert set(services) == {"good", "web"}
    assert services["web"]["revision"] == "a"
    detections = command.handle({"services": json.dumps(services)})["services"]
    assert json.loads(detections)["web"] == made("a").detection
    answer = render({"services": json.dumps(services), "detections": detections, **IMAGES})
    images = json.loads(answer["services"])
    assert images["web"] == {**made("a").rendered, "built": True}
    assert "built" not in images["good"]


def test_a_generation_whose_image_is_gone_is_detected_and_rendered_again() -> None:
    """Then fetch answers with the recorded entry alone."""
    assert made("a").pin(built=False) == made("a").fetched


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"version": 1, "services": {"web": 3}}'])
def test_a_file_that_holds_nothing_of_the_kind_is_named(text: str, tmp_path: Path) -> None:
    """One clear sentence instead of a traceback in the middle of a plan."""
    (tmp_path / "held.json").write_text(text)
    with pytest.raises(UsageError, match=r"held\.json is no file of held services"):
        generations.read_held(tmp_path / "held.json")


@pytest.mark.parametrize("program", ["fetch", "detect", "render"])
def test_each_program_leaves_word_of_the_services_that_failed(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, for `iac`, which gets only text through Terraform; the good one is not among them."""
    monkeypatch.setenv(FAILURES, str(tmp_path / "failures.json"))
    for name, text in (("good", MAIN), ("bad", "def main(:\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(text)
    services = {name: {"slug": f"dir:{name}", "source": str(tmp_path / name), "tree": ""} for name in ("good", "bad")}
    found = {name: {"argv": ["python", "main.py"], "launch": "file"} for name in services}
    services["bad"]["source"] += "" if program == "detect" else "-gone"
    (tmp_path / "repos.yaml").write_text("- dir:good\n- {slug: 'dir:none', name: bad}\n")
    bodies = {
        "fetch": lambda: fetch.handle({"slugs_file": str(tmp_path / "repos.yaml")}),
        "detect": lambda: command.handle({"services": json.dumps(services)}),
        "render": lambda: render({"services": json.dumps(services), "detections": json.dumps(found), **IMAGES}),
    }

    def body() -> int:
        bodies[program]()
        return 0

    assert guarded(body) == 1
    said = json.loads((tmp_path / "failures.json").read_text())
    assert list(said) == ["bad"]
    assert set(said["bad"]) == {"code", "message", "hint"}
    assert not said["bad"]["message"].startswith("bad: ")


def test_generations_are_read_from_a_plan() -> None:
    """Terraform keeps what the externals answered in the plan's prior state; what only pins is left out."""
    answers = {
        "fetch": {"web": made("a").pin(built=True)},
        "detect": {"web": made("a").detection},
        "render": {"web": {**made("a").rendered, "built": True}},
    }
    resources = [
        {"type": "external", "name": name, "values": {"result": {"services": json.dumps(one)}}}
        for name, one in answers.items()
    ]
    plan = {
        "prior_state": {"values": {"root_module": {"child_modules": [{"resources": resources}]}}},
        "planned_values": {"outputs": {"services": {"value": {"web": {"generation": "g-a"}}}}},
    }
    (one,) = generations.from_plan(plan, run="deploy").values()
    assert replace(one, at=made("a").at, run="", by="") == made("a")
    assert (one.run, bool(one.by)) == ("deploy", True)
