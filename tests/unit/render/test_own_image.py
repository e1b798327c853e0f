"""The build context of an entry with ``dockerfile:``: the tree as it is."""

from __future__ import annotations

from pathlib import Path

from tests.unit.render.conftest import Render

OWN = {"rule": "dockerfile", "argv": [], "launch": "image"}


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.readlink().as_posix() if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_the_context_is_the_whole_tree_with_its_own_dockerfile(render: Render, source: Path) -> None:
    (source / "docker").mkdir()
    (source / "docker" / "api.Dockerfile").write_text("FROM scratch\n")
    (source / "empty").mkdir()
    (source / "link").symlink_to("main.py")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    found = render(OWN, dockerfile="docker/api.Dockerfile", args=["--fast"])
    context = Path(found["context"])
    assert tree(context) == tree(source)
    assert (context / "empty").is_dir()
    assert (context / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (found["dockerfile"], found["argv"]) == ("docker/api.Dockerfile", ["--fast"])
    assert set(found["made_of"]) == {"source", "dockerfile"}


def test_only_tree_and_dockerfile_decide_whether_it_is_built(render: Render, source: Path) -> None:
    """Neither the kit's images nor what the container is told are part of it."""
    (source / "Dockerfile").write_text("FROM scratch\n")
    (source / "other").write_text("FROM scratch\n")
    first = render(OWN, dockerfile="Dockerfile")
    same = render(OWN, images={"runner_image": "karstkit/runner:new"}, dockerfile="Dockerfile", args=["x"], user="101")
    assert same["tag"] == first["tag"]
    assert render(OWN, dockerfile="other")["tag"] != first["tag"]
    (source / "main.py").write_text("print(2)\n")
    assert render(OWN, dockerfile="Dockerfile")["tag"] != first["tag"]


def test_a_dockerfile_that_dockerignore_leaves_out_is_put_back(render: Render, source: Path) -> None:
    """As Docker's own client does."""
    (source / "Dockerfile").write_text("FROM scratch\n")
    (source / ".dockerignore").write_text("*\n!main.py")
    context = Path(render(OWN, dockerfile="Dockerfile")["context"])
    assert (context / ".dockerignore").read_text().splitlines() == ["*", "!main.py", "!Dockerfile"]
    assert (source / ".dockerignore").read_text() == "*\n!main.py"
