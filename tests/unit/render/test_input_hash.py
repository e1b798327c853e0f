"""What changes an image's identity, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import karst.render.inputs
from tests.unit.render.conftest import IMAGES, Render


def test_the_same_input_has_the_same_hash_tag_and_context(render: Render) -> None:
    first, second = render(), render()
    assert first == second
    assert first["tag"] == f"karst/shop:{first['input_hash'][:12]}"
    assert Path(first["context"]).name == first["input_hash"]


def test_another_cache_gives_the_same_hash(render: Render, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = render()
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "elsewhere"))
    second = render()
    assert first["input_hash"] == second["input_hash"]
    assert first["context"] != second["context"]


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": "f" * 40},
        {"commit_time": "2027-01-01T00:00:00+00:00"},
        {"env": {"A": "b"}},
        {"memory": "64m"},
        {"allow": ["other"]},
        {"detection": {"reason": "another sentence", "evidence": "main.py:9"}},
        {"detection": {"kind": "server", "port": 8000, "env": {"A": "b"}}},
    ],
    ids=str,
)
def test_a_commit_or_a_setting_that_the_image_does_not_hold_builds_nothing(
    render: Render, changed: dict[str, Any]
) -> None:
    assert render(**changed)["input_hash"] == render()["input_hash"]


@pytest.mark.parametrize(
    "changed",
    [
        {"args": ["--debug"]},
        {"apt": ["gcc"]},
        {"tree": "e" * 64},
        {"repository_url": "https://github.com/till/other"},
        {"detection": {"argv": ["python", "-m", "shop"]}},
        {"detection": {"packages": ["uvicorn"]}},
        {"detection": {"launch": "binary", "argv": ["/app/main"]}},
        {"images": {"runner_image": "karstkit/runner:cc"}},
        {"images": {"builder_image": "karstkit/builder:cc"}},
        {"images": {"base_image": "python:3.12-slim"}},
        {"images": {"stack": "other"}},
    ],
    ids=str,
)
def test_whatever_the_build_reads_changes_the_hash(render: Render, changed: dict[str, Any]) -> None:
    assert render(**changed)["input_hash"] != render()["input_hash"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("main.py", "print(2)\n"), ("requirements.txt", "flask\n"), ("new.txt", ""), ("shop/__init__.py", "")],
)
def test_a_changed_file_changes_the_hash(render: Render, source: Path, name: str, content: str) -> None:
    before = render()["input_hash"]
    (source / name).write_text(content)
    assert render()["input_hash"] != before


def test_the_revision_in_the_image_is_the_one_at_which_the_content_was_first_built(render: Render) -> None:
    first = Path(render()["context"], "Dockerfile").read_text()
    again = Path(render(revision="f" * 40)["context"], "Dockerfile").read_text()
    assert first == again
    assert '"org.opencontainers.image.revision"="0123456789abcdef0123456789abcdef01234567"' in first
    assert '"org.opencontainers.image.created"="2026-01-02T03:04:05+00:00"' in first


def test_a_version_made_of_the_revision_does_not_change_the_hash_either(render: Render, source: Path) -> None:
    (source / "pyproject.toml").write_text(
        '[project]\nname = "shop"\ndynamic = ["version"]\n[build-system]\nrequires = ["hatch-vcs"]\n'
    )
    first, second = render(), render(revision="f" * 40)
    assert first["input_hash"] == second["input_hash"]
    assert "0.0.0+g0123456789ab" in Path(first["context"], "Dockerfile").read_text()


def test_an_unchanged_service_is_answered_from_memory(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render()

    def fail(*arguments: object) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr(karst.render.inputs, "build", fail)
    assert render() == first


def test_a_pruned_context_is_written_again(render: Render) -> None:
    import shutil

    first = render()
    shutil.rmtree(first["context"])
    assert render() == first
    assert Path(first["context"], "Dockerfile").is_file()


def test_a_context_in_use_is_touched_for_pruning(render: Render) -> None:
    import os

    context = render()["context"]
    os.utime(context, (1, 1))
    render()
    assert Path(context).stat().st_mtime > 1


def test_images_by_python_version_are_picked_by_what_is_asked_for(render: Render) -> None:
    images = {
        key: json.dumps({"3.11": value.replace("3.11", "3.11"), "3.12": value.replace("3.11", "3.12") + "-x"})
        for key, value in IMAGES.items()
    }
    texts = {
        asked: Path(render(images=images, python=asked or None)["context"], "Dockerfile").read_text()
        for asked in ("", "3.11", "3.12")
    }
    assert "runner:aa-x" in texts["3.12"]
    assert "runner:aa-x" not in texts["3.11"] + texts[""]
    wants = Path(render(images=images, detection={"python": ">=3.12"})["context"], "Dockerfile").read_text()
    assert "runner:aa-x" in wants
