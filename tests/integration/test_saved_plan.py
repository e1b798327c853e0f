"""A saved plan is applied as it was shown, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import JOB
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]


def test_a_list_edited_after_the_plan_does_not_matter_and_another_kit_does(tmp_path: Path) -> None:
    """The edit waits for the next plan; a plan of another version of the kit is refused before anything changes."""
    kit = Kit(tmp_path / "kit")
    (kit.home / "once").mkdir()
    (kit.home / "once" / "main.py").write_text(JOB)
    kit.write_list(["dir:once"])
    kit.iac("plan", "--file", str(kit.list_file))
    kit.write_list([{"slug": "dir:once", "name": "renamed"}])
    (kit.home / "once" / "main.py").write_text("raise SystemExit(9)\n")
    notes = kit.state_file.with_name("karst.json")
    told = json.loads(notes.read_text())
    try:
        notes.write_text(json.dumps({**told, "kit": "another"}))
        assert "the kit's own files have changed" in kit.iac("apply", check=2).stderr
        assert kit.containers() == []
        notes.write_text(json.dumps(told))
        kit.iac("apply")
        assert set(kit.pods()) == {"once"}
        assert kit.health()["once"]["status"] == "COMPLETED"
    finally:
        kit.destroy()
