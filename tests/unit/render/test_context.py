"""The build context: what is in it, and what never is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from karst.render.context import entries
from tests.unit.render.conftest import Render


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def test_it_holds_the_dockerfile_the_source_and_what_the_dependencies_need(render: Render) -> None:
    found = listing(Path(render()["context"]))
    assert {name for name in found if "__pycache__" not in name} == {
        "Dockerfile",
        "deps/requirements.txt",
        "src/main.py",
        "src/requirements.txt",
        "src/shop/__init__.py",
    }


def test_version_control_caches_and_environments_stay_out(render: Render, source: Path) -> None:
    for name in (".git/config", "a/.git/config", "__pycache__/x.pyc", ".tox/x", "env/bin/python"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    (source / "env/pyvenv.cfg").write_text("")
    (source / "a/kept.txt").write_text("")
    names = [name for name, _ in entries(source)]
    assert names == sorted(names, key=lambda name: (name.count("/") > 0, name))
    assert set(names) == {"a/kept.txt", "main.py", "requirements.txt", "shop/__init__.py"}


def test_files_are_linked_when_every_user_can_read_them_and_copied_readable_else(render: Render, source: Path) -> None:
    (source / "private.txt").write_text("x")
    (source / "private.txt").chmod(0o600)
    (source / "run.sh").write_text("x")
    (source / "run.sh").chmod(0o700)
    (source / "main.py").chmod(0o644)
    src = Path(render()["context"]) / "src"
    assert stat.S_IMODE((src / "private.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE((src / "run.sh").stat().st_mode) == 0o755
    assert (src / "main.py").stat().st_ino == (source / "main.py").stat().st_ino
    assert stat.S_IMODE((source / "private.txt").stat().st_mode) == 0o600


def test_links_stay_links(render: Render, source: Path) -> None:
    (source / "alias.py").symlink_to("main.py")
    (source / "package").symlink_to("shop")
    src = Path(render()["context"]) / "src"
    assert os.readlink(src / "alias.py") == "main.py"
    assert os.readlink(src / "package") == "shop"


def test_a_manifest_that_links_out_of_the_repository_is_not_read(render: Render, source: Path, tmp_path: Path) -> None:
    (tmp_path / "host-secret.txt").write_text("canary==1\n")
    (source / "requirements.txt").unlink()
    (source / "requirements.txt").symlink_to("../host-secret.txt")
    context = Path(render()["context"])
    assert not (context / "deps").exists()
    assert "canary" not in (context / "Dockerfile").read_text()


def test_the_skeleton_is_beside_the_source(render: Render, source: Path) -> None:
    (source / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\n[build-system]\nrequires = ["hatchling"]\n'
        'build-backend = "hatchling.build"\n'
    )
    (source / "README.md").write_text("words")
    context = Path(render()["context"])
    assert {"pyproject.toml", "shop/__init__.py", "main.py", "README.md"} == listing(context / "skeleton")
    assert (context / "skeleton/main.py").read_text() == ""


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_path_in_a_manifest_writes_nothing_outside_the_context(
    render: Render, source: Path, tmp_path: Path, depth: int
) -> None:
    """The path leads back into the repository, so that reading it is harmless; writing the same path is not."""
    parents = source.parts[-depth:]
    path = "/".join([".."] * depth + list(parents) + ["VERSION"])
    (source / "VERSION").write_text("1.0\n")
    (source / "pyproject.toml").write_text(
        '[project]\nname = "shop"\ndynamic = ["version"]\n[build-system]\nrequires = ["setuptools"]\n'
        f'build-backend = "setuptools.build_meta"\n[tool.setuptools.dynamic]\nversion = {{ file = "{path}" }}\n'
    )
    (source / "requirements.txt").write_text(f"--find-links ../{source.name}/shop\n-r {path}\nflask\n")
    before = listing(tmp_path)
    context = Path(render()["context"])
    made = {name for name in listing(tmp_path) - before if not name.startswith(("cache/render/", "cache/pyc/"))}
    assert all(name.startswith(context.relative_to(tmp_path).as_posix() + "/") for name in made)
    assert {name.split("/")[0] for name in listing(context)} <= {"Dockerfile", "src", "deps", "skeleton"}


def test_an_interrupted_write_leaves_no_context(
    render: Render, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import karst.render.context as module

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "place", stop)
    with pytest.raises(KeyboardInterrupt):
        render()
    assert list((tmp_path / "cache/build").iterdir()) == []


def test_modules_come_with_byte_code_that_is_valid_by_content(render: Render, source: Path) -> None:
    (source / "broken.py").write_text("def (:\n")
    (source / "tests").mkdir()
    (source / "tests/test_x.py").write_text("x = 1\n")
    src = Path(render()["context"]) / "src"
    compiled = {name for name in listing(src) if name.endswith(".pyc")}
    tag = sys.implementation.cache_tag
    if f"{sys.version_info.major}.{sys.version_info.minor}" != "3.11":
        assert compiled == set()  # another Python than the image's: then the build compiles
        return
    assert compiled == {f"__pycache__/main.{tag}.pyc", f"shop/__pycache__/__init__.{tag}.pyc"}
    flags = (src / f"__pycache__/main.{tag}.pyc").read_bytes()[4:8]
    assert flags == b"\x01\x00\x00\x00"
    done = subprocess.run(
        [sys.executable, "-B", "-v", "-c", "import shop"], cwd=src, capture_output=True, text=True, check=True
    )
    assert "code object from" in done.stderr


def test_compiling_runs_nothing(render: Render, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    (source / "main.py").write_text(f"open({str(target)!r}, 'w')\n")
    render()
    assert not target.exists()


def test_an_image_of_another_python_is_compiled_in_the_build(render: Render) -> None:
    context = Path(render(images={"base_image": "python:3.9-slim"})["context"])
    assert not any(name.endswith(".pyc") for name in listing(context))
    assert '["karst-build", "compile", "/app"]' in (context / "Dockerfile").read_text()
