"""The images that do not depend on a service, built from their folders as the module builds them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from karst.files import tree_hash
from karst.toolchain import base_image

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "modules" / "karst_service" / "image"


def base() -> str:
    """The base image that bootstrap found or made; skip without one."""
    found = base_image.find()
    if found is None:
        pytest.skip("there is no base image: `make bootstrap` pulls or makes one")
    return found[0]


@contextlib.contextmanager
def official(name: str) -> Iterator[None]:
    """Have the official image ``name`` on the engine; without Docker Hub, the base image under its name."""

    def docker(*words: str) -> bool:
        return subprocess.run(["docker", *words], capture_output=True, timeout=120, check=False).returncode == 0

    if docker("image", "inspect", name) or base() != base_image.LOCAL:
        yield  # the engine pulls it by itself
        return
    docker("tag", base(), name)
    try:
        yield
    finally:
        docker("rmi", name)


def build(kind: str, folder: Path | None = None) -> str:
    """Build ``runner``, ``sidecar`` or what is in ``folder``, unless this very one is there; return its name."""
    folder = folder or IMAGES / kind
    name = f"karst-test/{kind}:{tree_hash(folder, skip=frozenset({'__pycache__'}))[:12]}"
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0:
        return name
    arguments = ["build", "--quiet", "--build-arg", f"BASE={base()}", "--tag", name, "--label", "karst.test=image"]
    bundle = base_image.build_ca_file()
    if bundle:
        arguments += ["--secret", f"id=ca,src={bundle}"]
    said = []
    # A newer client without its buildx plugin cannot build with BuildKit; a distribution's own beside it can.
    for docker in ("docker", "/usr/bin/docker"):
        done = subprocess.run(
            [docker, *arguments, str(folder)],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return name
        said.append(done.stderr.strip())
    raise AssertionError("\n".join(said))
