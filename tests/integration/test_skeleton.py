"""That an editable install on a skeleton gives what it gives on the source: real backends, a real uv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from karst.deps.skeleton import of
from karst.deps.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = {
    "hatchling": "hatchling.build",
    "poetry-core": "poetry.core.masonry.api",
    "pdm-backend": "pdm.backend",
    "flit_core": "flit_core.buildapi",
    "uv_build": "uv_build",
    "setuptools": "setuptools.build_meta",
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def uv() -> str:
    found = shutil.which("uv")
    if found is None:
        program = ROOT / "scripts" / "toolchain" / "environment"
        done = subprocess.run([program, "--uv"], capture_output=True, text=True, check=False)
        found = done.stdout.strip()
    if not found:
        pytest.skip("uv is not there")
    return found


def project(folder: Path, requirement: str, backend: str, layout: str) -> None:
    package = folder / layout / "shop"
    (package / "web" / "templates").mkdir(parents=True)
    (package / "__init__.py").write_text('"""A shop."""\n__version__ = "1.4.0"\n')
    (package / "cli.py").write_text("def main():\n    print('shop')\n")
    (package / "web/__init__.py").write_text("")
    (package / "web/templates/index.html").write_text("<p>")
    (folder / "README.md").write_text("# Shop\n")
    (folder / "LICENSE").write_text("Free.\n")
    (folder / "tests").mkdir()
    (folder / "tests/test_shop.py").write_text("assert True\n")
    module = '[tool.uv.build-backend]\nmodule-root = ""\n' if backend == "uv_build" and not layout else ""
    packages = (
        '[tool.setuptools.packages.find]\ninclude = ["shop*"]\n'
        if backend.startswith("setuptools") and not layout
        else ""
    )
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1.4.0"\ndescription = "A shop."\nreadme = "README.md"\n'
        f'[project.scripts]\nshop = "shop.cli:main"\n[build-system]\nrequires = ["{requirement}"]\n'
        f'build-backend = "{backend}"\n{module}{packages}'
    )


def installed(uv: str, source: Path, at: Path, venv: Path) -> dict[str, str]:
    """Install ``source`` as a path from the folder ``at``, and return every file of the environment that came of it."""
    shutil.rmtree(at, ignore_errors=True)
    shutil.copytree(source, at)
    environment = {**os.environ, "VIRTUAL_ENV": str(venv), "UV_LINK_MODE": "copy"}
    subprocess.run([uv, "venv", "--quiet", "--clear", venv], env=environment, check=True)
    before = {path for path in venv.rglob("*") if path.is_file()}
    subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--editable", at], env=environment, check=True)
    found = {}
    for path in sorted(venv.rglob("*")):
        if path.is_file() and path not in before and path.name not in ("RECORD", "uv_cache.json"):
            text = path.read_text(errors="replace")
            # The readme's text is in the metadata, and a skeleton has a stand-in for it.
            found[path.relative_to(venv).as_posix()] = text.split("\n\n")[0] if path.name == "METADATA" else text
    return found


@pytest.mark.parametrize("layout", ["", "src"])
@pytest.mark.parametrize(("requirement", "backend"), BACKENDS.items())
def test_the_environment_is_the_same(uv: str, tmp_path: Path, requirement: str, backend: str, layout: str) -> None:
    full, bare = tmp_path / "full", tmp_path / "bare"
    full.mkdir()
    project(full, requirement, backend, layout)
    skeleton = of(Tree(full))
    assert skeleton is not None
    for name, text in skeleton.items():
        (bare / name).parent.mkdir(parents=True, exist_ok=True)
        (bare / name).write_text((full / name).read_text() if text is None else text)
    results = [installed(uv, source, tmp_path / "app", tmp_path / "venv") for source in (full, bare)]
    assert results[0] == results[1]
    assert "bin/shop" in results[0]
