"""`iac prune` on a real stack: old images go, and what runs or could be gone back to stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from karst import generations
from tests.integration.conftest import JOB
from tests.support.kit import Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("stack")]

# The cache is the user's, and no business of a test.
NO_CACHE = ("--unused-for", "100000")


def _prune(kit: Kit, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(kit.iac("prune", "--json", *NO_CACHE, *options).stdout)
    return answer


def _images(kit: Kit) -> set[str]:
    label = f"label=karst.stack={kit.stack}"
    return set(docker("images", "--format={{.Repository}}:{{.Tag}}", "--filter", label).split())


def test_images_beyond_the_retention_go_and_a_rollback_within_it_still_works(tmp_path: Path) -> None:
    """Three versions, two to keep; then back to the oldest of them, which keeps it although it is old."""
    kit = Kit(tmp_path / "kit", env={"KARST_DRAIN_SECONDS": "1"})
    (kit.home / "web").mkdir()
    kit.write_list(["dir:web"])
    try:
        for word in ("first", "second", "third"):
            (kit.home / "web" / "main.py").write_text(JOB.replace("forty-two", f"{kit.stack} {word}"))
            kit.iac("deploy", "--file", str(kit.list_file))
        first, second, third = (
            one.image for one in generations.read(kit.home / "state" / kit.stack / "history", "web")
        )
        assert _images(kit) == {first, second, third}
        assert _prune(kit)["removed"] == [], "five are kept unless somebody says otherwise"

        told = _prune(kit, "--keep", "2", "--dry-run")
        assert [one["name"] for one in told["removed"]] == [first]
        assert _images(kit) == {first, second, third}
        done = _prune(kit, "--keep", "2")
        assert done["removed"] == told["removed"]
        assert done["bytes"] == sum(one["size"] for one in done["removed"])
        assert _images(kit) == {second, third}
        assert [row["image_present"] for row in json.loads(kit.iac("history", "web", "--json").stdout)] == [
            True,
            True,
            False,
        ]

        kit.iac("rollback", "web")
        assert f"{kit.stack} second" in kit.iac("logs", "--service", "web").stdout
        assert [one["name"] for one in _prune(kit, "--keep", "1", "--dry-run")["removed"]] == []
        said = kit.iac("prune", "--keep", "1", *NO_CACHE).stdout
        assert "nothing to remove" in said
        assert {row["status"] for row in kit.health().values()} == {"COMPLETED"}
    finally:
        kit.iac("destroy", "--yes", check=None)
