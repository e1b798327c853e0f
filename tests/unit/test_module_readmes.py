"""The tables in the modules' READMEs, which `terraform-docs modules/<name>` writes, say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import hcl2
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _described(path: Path, kind: str) -> dict[str, str]:
    """Name → description of each block; python-hcl2 keeps the quotes of strings."""
    with path.open() as handle:
        blocks = hcl2.load(handle).get(kind, [])
    return {
        name.strip('"'): str(body["description"]).strip('"')
        for block in blocks
        for name, body in block.items()
        if not name.startswith("__")
    }


def _table(text: str, title: str) -> dict[str, str]:
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\w\\]+) \| (.*?) \|(?: |$)", section, re.MULTILINE)
    return {name.replace("\\", ""): cell.replace("\\", "") for name, cell in rows if name != "Name"}


@pytest.mark.parametrize("module", ["karst_mesh", "karst_service"])
@pytest.mark.parametrize(
    ("title", "file", "kind"), [("Inputs", "variables.tf", "variable"), ("Outputs", "outputs.tf", "output")]
)
def test_the_readme_describes_what_there_is_in_the_same_words(module: str, title: str, file: str, kind: str) -> None:
    """A forgotten run of terraform-docs is a failing test."""
    folder = ROOT / "modules" / module
    described = _described(folder / file, kind)
    assert described
    assert _table((folder / "README.md").read_text(), title) == described
