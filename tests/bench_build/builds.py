"""Image builds alone: the kit's Dockerfile beside a hand-written one, by one client on one engine."""

from __future__ import annotations

import json
import os
import re
import secrets
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from karst.files import tree_hash
from karst.render import handle
from karst.toolchain import base_image
from tests.bench_build import app
from tests.support import images
from tests.support.kit import docker

COLD_ROUNDS = 3
ROUNDS = 5
LABEL = "karst.test=bench"
Measured = dict[str, list[float]]


@dataclass
class Recipe:
    """One way to build the app.

    Attributes:
        name: what the table calls it.
        write: write the context for a package cache of this name into the folder, in the state that it has.
        folder: the context.
        seconds: what was measured, by column.
    """

    name: str
    write: Callable[[str], Path]
    folder: Path
    seconds: Measured = field(default_factory=dict)
    tag: str = field(default_factory=lambda: f"karst-bench/{secrets.token_hex(4)}")

    def build(self, context: Path, *arguments: str) -> float:
        return docker_build(context, self.tag, *arguments)


def measure(home: Path) -> tuple[list[Recipe], dict[str, int]]:
    """Every recipe's times, and image sizes in bytes by recipe, with ``base`` and ``runner``."""
    base, builder, runner = images.base(), images.build("builder"), images.build("runner")
    recipes = [_kit(home / "kit", base, builder, runner)]
    for installer in ("uv", "pip"):
        recipes.append(_by_hand(home / installer, base, builder, installer))
    try:
        for recipe in recipes:
            app.source(recipe.folder)
        # One after the other within a round, so that a slow minute of the machine hits all of them.
        for _ in range(COLD_ROUNDS):
            for recipe in recipes:
                cache = f"karst-bench-{secrets.token_hex(4)}"
                _add(recipe, "cold", recipe.build(recipe.write(cache), "--no-cache"))
                _add(recipe, "warm", recipe.build(recipe.write(cache), "--no-cache"))
        contexts = {}
        for number in range(ROUNDS):
            for recipe in recipes:
                app.change(recipe.folder, f"{recipe.name} {number}")
                contexts[recipe.name] = context = recipe.write("karst-bench-kept")
                if number == 0:
                    recipe.build(context)
                    app.change(recipe.folder, f"{recipe.name} changed")
                    context = recipe.write("karst-bench-kept")
                _add(recipe, "line", recipe.build(context))
                _add(recipe, "cached", recipe.build(context))
        sizes = {recipe.name: _size(recipe.tag) for recipe in recipes}
    finally:
        subprocess.run(["docker", "rmi", "--force", *(r.tag for r in recipes)], capture_output=True, check=False)
        # Each build took the tag from the one before, and left that without a name.
        docker("image", "prune", "--force", "--filter", f"label={LABEL}")
    return recipes, {**sizes, "base": _size(base), "runner": _size(runner)}


def median(recipe: Recipe, column: str) -> float:
    return statistics.median(recipe.seconds[column])


def docker_build(context: Path, tag: str, *arguments: str) -> float:
    """Build with BuildKit; return the seconds it took, the client's own included."""
    words = ["build", "--quiet", "--tag", tag, "--label", LABEL, *arguments]
    if bundle := base_image.build_ca_file():
        words += ["--secret", f"id=ca,src={bundle}"]
    said = []
    # A newer client without its buildx plugin cannot build with BuildKit; a distribution's own beside it can.
    for client in ("docker", "/usr/bin/docker"):
        start = time.monotonic()
        done = subprocess.run(
            [client, *words, str(context)],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return time.monotonic() - start
        said.append(done.stderr.strip())
    raise AssertionError("\n".join(said))


def _kit(folder: Path, base: str, builder: str, runner: str) -> Recipe:
    source = folder / "source"

    def write(cache: str) -> Path:
        """The kit's own context; only the package cache gets another name, so that it can be cold."""
        service = {"source": str(source), "tree": tree_hash(source), "revision": "0" * 40, "ref": "", "apt": []}
        argv = ["uvicorn", "main:app", "--host", "127.0.0.1", "--port", "${PORT}"]
        query = {"stack": "bench", "base_image": base, "builder_image": builder, "runner_image": runner}
        query["services"] = json.dumps({"web": service})
        query["detections"] = json.dumps({"web": {"argv": argv, "launch": "uvicorn"}})
        context = Path(json.loads(handle(query)["services"])["web"]["context"])
        copy = folder / "context"
        subprocess.run(["cp", "-aT", "--remove-destination", context, copy], check=True)
        text = (copy / "Dockerfile").read_text()
        renamed, count = re.subn(r"id=karst-uv[\w-]*", f"id={cache}", text)
        assert count == 1, text
        (copy / "Dockerfile").write_text(renamed)
        return copy

    return Recipe("KarstKit", write, source)


def _by_hand(folder: Path, base: str, builder: str, installer: str) -> Recipe:
    def write(cache: str) -> Path:
        app.dockerfile(folder, base=base, builder=builder, installer=installer, cache=cache)
        return folder

    return Recipe(f"by hand, {installer}", write, folder)


def _add(recipe: Recipe, column: str, seconds: float) -> None:
    recipe.seconds.setdefault(column, []).append(seconds)


def _size(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))
