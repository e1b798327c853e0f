"""A small tree from a dict of paths, and the two questions asked of it."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from karst.detect import DetectError, Detection, detect

Files = Mapping[str, str | bytes]
Plant = Callable[[Files], Path]


def write_tree(root: Path, files: Files, *, seed: int | None = None) -> Path:
    """Write the files below ``root``; with a seed in shuffled order. A path that ends in ``!`` is made executable."""
    items = list(files.items())
    if seed is not None:
        random.Random(seed).shuffle(items)
    for name, body in items:
        path = root / name.removesuffix("!")
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = body if isinstance(body, bytes) else textwrap.dedent(body).encode()
        path.write_bytes(raw)
        if name.endswith("!"):
            path.chmod(0o755)
    root.mkdir(parents=True, exist_ok=True)
    return root


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Write a tree and return its root."""
    return lambda files: write_tree(tmp_path / "repo", files)


@pytest.fixture
def ask(plant: Plant) -> Callable[..., Detection]:
    """The detection of a tree given as a dict."""
    return lambda files, **given: detect(plant(files), **given)


@pytest.fixture
def refused(plant: Plant) -> Callable[..., DetectError]:
    """The refusal of a tree given as a dict."""

    def ask_for_refusal(files: Files, **given: object) -> DetectError:
        with pytest.raises(DetectError) as caught:
            detect(plant(files), **given)  # type: ignore[arg-type]
        return caught.value

    return ask_for_refusal
