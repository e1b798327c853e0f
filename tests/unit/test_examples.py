"""The table of examples is true: every example has a README and a row, every row a test that is there and uses it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
ROWS = re.findall(
    r"^\| .* \| \[([\w-]+)\]\(\1\) \| `([\w/]+\.py)::(\w+)` \|$", (EXAMPLES / "README.md").read_text(), re.M
)


def test_every_example_with_a_readme_is_in_the_table_once() -> None:
    assert sorted(name for name, _, _ in ROWS) == sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))


@pytest.mark.parametrize(("example", "file", "test"), ROWS)
def test_the_test_of_an_example_is_there_and_takes_the_examples_files(example: str, file: str, test: str) -> None:
    text = (ROOT / file).read_text()
    assert f"def {test}(" in text
    assert re.search(rf"[/\"]{example}[/\"]", text), f"{file} does not name examples/{example}"


def test_the_examples_ask_for_one_version_of_the_kit() -> None:
    found = {
        ref
        for path in EXAMPLES.rglob("*.tf")
        for ref in re.findall(r"karstkit\.git//.*\?ref=(\S+)\"", path.read_text())
    }
    assert len(found) == 1, found
    assert f"?ref={found.pop()}" in (ROOT / "README.md").read_text(), "the version of the main README"
