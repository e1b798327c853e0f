"""A git host, an empty cache and an environment without tokens for every test of fetching."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.githost import GitHost


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, and no setting of the caller's."""
    for name in list(os.environ):
        if re.fullmatch(r"KARST_(GH|GL|BB)_URL|KARST_FETCH_.*|GIT_CONFIG.*|.*_TOKEN", name):
            monkeypatch.delenv(name)
    monkeypatch.setattr("karst.fetch.web._PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def githost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """A git host that gh:, gl: and bb: slugs lead to."""
    with GitHost(tmp_path / "githost") as host:
        for name, value in host.environment().items():
            monkeypatch.setenv(name, value)
        yield host
