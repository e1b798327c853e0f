"""What the modules promise to those who build on them: variables, addresses in their states, versions."""

from __future__ import annotations

import datetime as dt
import functools
import re
import tomllib
from pathlib import Path
from typing import Any

import hcl2
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("modules/karst_mesh", "modules/karst_service")
LOCAL = "envs/local"
POLICY = ROOT / "docs" / "modules.md"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@functools.cache
def _parsed(folder: str) -> list[dict[str, Any]]:
    return [hcl2.loads(path.read_text()) for path in sorted((ROOT / folder).glob("*.tf"))]


def _blocks(folder: str, kind: str) -> list[dict[str, Any]]:
    return [block for file in _parsed(folder) for block in file.get(kind, [])]


def _variables(folder: str) -> dict[str, dict[str, Any]]:
    return {name.strip('"'): body for block in _blocks(folder, "variable") for name, body in block.items()}


def _addresses(folder: str) -> set[str]:
    """Of everything that the module keeps in a state (data sources are read anew)."""
    return {
        f"{kind}.{name}".replace('"', "")
        for block in _blocks(folder, "resource")
        for kind, named in block.items()
        for name in named
    }


def _rules(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Condition and message of each validation, without the spaces that a formatter sets."""
    return [
        (re.sub(r"\s+", "", str(rule["condition"])), str(rule["error_message"])) for rule in body.get("validation", [])
    ]


@pytest.mark.parametrize("folder", MODULES)
def test_each_variable_refuses_what_it_cannot_take_in_a_sentence_with_an_example(folder: str) -> None:
    """Null is the default, a wrong value is told with an example, each rule has a run in refusals.tftest.hcl."""
    runs = (ROOT / folder / "tests" / "refusals.tftest.hcl").read_text()
    for name, body in _variables(folder).items():
        assert body.get("nullable") is False or body.get("default", "") in (None, "null"), f"{name}: null gets through"
        rules = _rules(body)
        assert rules or str(body["type"]).strip('"${}') == "bool", f"{name}: which values are wrong?"
        for _, message in rules:
            assert re.search(r"for example `", message), message
            assert message.strip('"').endswith("."), message
        assert runs.count(f"expect_failures = [var.{name}]") >= len(rules), f"{name}: a rule without a run"


def test_both_modules_and_the_root_mean_the_same_by_a_variable() -> None:
    """One wrong value is refused once, by the root, and not again in other words by each module."""
    mesh_variables, service_variables, local_variables = (_variables(folder) for folder in (*MODULES, LOCAL))
    shared = set(mesh_variables) & set(service_variables)
    assert len(shared) >= 7
    for name in shared:
        mesh, service, local = mesh_variables[name], service_variables[name], local_variables.get(name)
        if name != "network_name":  # a network that is not ours may have a name that we would not give one
            assert _rules(mesh) == _rules(service), name
        assert mesh.get("default") == service.get("default"), name
        if local is not None:
            assert local["type"] == mesh["type"], name
            # The example is a path, and relative ones are relative to other folders.
            assert [rule for rule, _ in _rules(local)] == [rule for rule, _ in _rules(mesh)], name


def test_the_policy_names_every_address_that_states_hold() -> None:
    """A resource that leaves its address without a `moved` block is destroyed in every state there is."""
    for folder in MODULES:
        name = folder.rpartition("/")[2]
        row = re.search(rf"^\| `{name}` \|(.*)\|$", POLICY.read_text(), re.MULTILINE)
        assert row is not None, name
        promised = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", row[1]))
        moved = {str(block["from"]).strip("${}") for block in _blocks(folder, "moved")}
        assert promised == _addresses(folder) | moved, f"{name}: rename with a `moved` block, and add what is new"


def test_every_pinned_example_names_the_version_that_there_is() -> None:
    """README, module READMEs and docs pin the same tag, which is pyproject.toml's version."""
    pinned = {
        (path.relative_to(ROOT), tag)
        for path in [ROOT / "README.md", *ROOT.glob("modules/*/README.md"), *ROOT.glob("docs/**/*.md")]
        for tag in re.findall(r"\?ref=v(\d[\w.]*)", path.read_text())
    }
    assert len(pinned) >= 3
    assert {tag for _, tag in pinned} == {VERSION}


def test_the_changelog_has_one_heading_a_version_newest_first() -> None:
    """`[Unreleased]`, then `[X.Y.Z] - YYYY-MM-DD`; the newest is pyproject.toml's version, once that is released."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = []
    for heading in headings[1:]:
        match = re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})", heading)
        assert match is not None, heading
        dt.date.fromisoformat(match[4])
        released.append(tuple(int(part) for part in match.groups()[:3]))
    assert released == sorted(released, reverse=True)
    now = tuple(int(part) for part in VERSION.split("."))
    assert not released or released[0] <= now


@pytest.mark.parametrize("page", ["README.md", *(f"{folder}/README.md" for folder in MODULES), "docs/modules.md"])
def test_examples_set_variables_that_there_are(page: str) -> None:
    """An example that a reader copies sets what is required, and nothing that is not there."""
    used = 0
    for text in re.findall(r"^( *)```hcl\n(.*?)^ *```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE):
        for block in hcl2.loads(text[1]).get("module", []):
            for body in block.values():
                match = re.search(r"//(modules/\w+)", body["source"])
                assert match is not None, body["source"]
                variables = _variables(match[1])
                given = {key for key in body if not key.startswith("__")} - {"source", "providers", "depends_on"}
                assert given <= set(variables)
                assert {name for name, one in variables.items() if "default" not in one} <= given
                used += 1
    assert used, f"{page} has no example"
