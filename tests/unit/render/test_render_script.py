"""``scripts/render`` as Terraform and as a person call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from karst.errors import KarstError
from tests.unit.render.conftest import Render

SCRIPT = Path(__file__).parents[3] / "scripts" / "render"


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    return subprocess.run(
        [sys.executable, SCRIPT, *words], input=stdin, capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize(
    ("query", "code", "sentence"),
    [
        ("nonsense", 2, "not JSON"),
        ("[]", 2, "one JSON object"),
        ('{"services": "{"}', 2, "`services` in the query is not JSON"),
        ('{"services": "{\\"a\\": {}}", "detections": "{}"}', 2, "`detections` has nothing for a"),
    ],
)
def test_a_bad_query_is_one_sentence_and_a_usage_error(query: str, code: int, sentence: str) -> None:
    done = run(stdin=query)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_services_are_no_work() -> None:
    done = run(stdin='{"services": "{}", "detections": "{}"}')
    assert (done.returncode, json.loads(done.stdout)) == (0, {"services": "{}"})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"source": "/nonexistent"}, "shop: the source /nonexistent is not there"),
        ({"detection": {"argv": []}}, "shop: nothing was detected to run"),
        ({"apt": ["a b"]}, "is not a valid Debian package"),
        ({"python": "3.12"}, "Python 3.12 is asked for, and there is a base image for 3.11 only"),
    ],
)
def test_what_cannot_be_rendered_names_the_service(render: Render, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KarstError) as caught:
        render(**changed)
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    "text", ["[tool]\npoetry = 3\n", "[project]\ndependencies = 3\n", "[tool.poetry.dependencies]\nx = '^a'\n", "x = ["]
)
def test_manifests_of_an_odd_shape_are_a_sentence_not_a_traceback(render: Render, source: Path, text: str) -> None:
    (source / "pyproject.toml").write_text(text)
    (source / "requirements.txt").unlink()
    with pytest.raises(KarstError, match=r"^shop: pyproject\.toml (cannot be understood|is not valid)"):
        render()


def test_the_commands_arguments_are_added_once(render: Render) -> None:
    added = render(args=["--port", "80"])
    assert added["argv"] == ["python", "/app/main.py", "--port", "80"]
    there = render(args=["--port", "80"], detection={"argv": ["python", "/app/main.py", "--port", "80"]})
    assert there["argv"] == added["argv"]


def test_by_hand_it_shows_the_choice_and_the_dockerfile(source: Path) -> None:
    done = run(str(source), "--", "python", "/app/main.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("requirements.txt lists what to install.\n")
    assert 'CMD ["python", "/app/main.py"]' in done.stdout


def test_by_hand_the_choice_can_be_had_as_json(source: Path) -> None:
    found = json.loads(run(str(source), "--json").stdout)
    assert (found["kind"], found["evidence"]) == ("requirements", "requirements.txt")


@pytest.mark.parametrize("words", [["--bad"], ["a", "b"], ["/nonexistent"]])
def test_by_hand_wrong_words_are_a_usage_error(words: list[str]) -> None:
    assert run(*words).returncode == 2
