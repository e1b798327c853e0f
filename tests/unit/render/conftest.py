"""A repository in a folder, its query, and what `scripts/render` makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karst.files import tree_hash
from karst.render import handle

REVISION = "0123456789abcdef0123456789abcdef01234567"
IMAGES = {
    "base_image": "python:3.11-slim",
    "runner_image": "karstkit/runner:aa",
    "builder_image": "karstkit/builder:bb",
}

Render = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small repository: a list of requirements, a module and a main file."""
    folder = tmp_path / "source"
    (folder / "shop").mkdir(parents=True)
    (folder / "requirements.txt").write_text("flask==3.0.3\n")
    (folder / "shop/__init__.py").write_text("NAME = 'shop'\n")
    (folder / "main.py").write_text("import shop\nprint(shop.NAME)\n")
    return folder


@pytest.fixture
def render(source: Path) -> Render:
    """Render one service; keywords replace parts of the service, ``detection`` and ``images`` those of the others."""

    def run(detection: dict[str, Any] | None = None, images: dict[str, str] | None = None, **service: Any) -> Any:
        name = service.get("name", "shop")
        entry = {
            "name": name,
            "slug": "gh:till/shop",
            "ref": "refs/heads/main",
            "revision": REVISION,
            "source": str(source),
            "tree": tree_hash(source),
            "repository_url": "https://github.com/till/shop",
            "commit_time": "2026-01-02T03:04:05+00:00",
            "args": [],
            "apt": [],
            **service,
        }
        answer = {"argv": ["python", "/app/main.py"], "launch": "file", "rule": "C3", **(detection or {})}
        query = {"stack": "karst", **IMAGES, **(images or {})}
        query |= {"services": json.dumps({name: entry}), "detections": json.dumps({name: answer})}
        return json.loads(handle(query)["services"])[name]

    return run
