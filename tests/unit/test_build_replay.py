"""A failed build's steps, taken out of its Dockerfile to be run again in a container."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from karst.build_errors import explain
from karst.build_replay import Failure, failure, steps
from karst.deps import Plan
from karst.errors import KarstError
from karst.render.dockerfile import Image, render

INSTALL = ("uv", "pip", "install")


def rendered(plan: Plan | None) -> str:
    return render(
        Image("karstkit/builder:bb", "karstkit/runner:aa", "python:3.11-slim", "shop", ("shop",), plan, apt=("gcc",))
    )


def test_the_steps_are_those_of_the_dockerfile_in_order() -> None:
    plan = Plan(
        "setup",
        "",
        files={"requirements.txt": "a"},
        install=((*INSTALL, "a b"),),
        project=((*INSTALL, "/app"),),
        env={"PBR_VERSION": "1.0"},
    )
    image, script = steps(rendered(plan))
    lines = script.split("\n")
    assert image == "karstkit/builder:bb"
    assert lines[0] == "set -e"
    assert lines[4:] == [
        "karst-build apt gcc",
        "cp -R /context/deps/. /deps/",
        "karst-build uv pip install 'a b' --then path /app --then legacy"
        " --then compile /opt/venv --then sbom shop --then snapshot",
        "export PBR_VERSION=1.0",
        "cp -R /context/src/. /app/",
        "karst-build uv pip install /app --then compile /opt/venv --then delta --then compile /app",
    ]


def test_the_script_is_one_that_a_shell_can_read() -> None:
    plan = Plan("setup", "", install=((*INSTALL, "a'; touch /pwned; '$(id)"),))
    done = subprocess.run(["sh", "-n"], input=steps(rendered(plan))[1], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_image_without_a_build_stage_has_nothing_to_explain() -> None:
    with pytest.raises(KarstError, match="no build stage"):
        steps(rendered(None))


def test_a_failure_is_told_with_the_service_the_lines_and_what_to_try() -> None:
    log = "error: Failed to build `x==1`\nfatal error: zlib.h: No such file\n"
    text = str(Failure("shop", explain(log), ("fatal error: zlib.h: No such file",)).error())
    assert text.startswith(
        "shop: x==1 needs the header zlib.h\n  | fatal error: zlib.h: No such file\n  hint: add `apt: [zlib1g-dev"
    )


@pytest.mark.docker
@pytest.mark.timeout(180)
def test_a_build_that_fails_in_the_engine_fails_the_same_way_here(tmp_path: Path) -> None:
    from karst.toolchain import base_image
    from tests.support import images

    plan = Plan(
        "requirements",
        "",
        files={"requirements.txt": "karst-no-such-package==9\n"},
        install=((*INSTALL, "-r", "/deps/requirements.txt"),),
    )
    text = render(Image(images.build("builder"), "unused", "python:3.11-slim", "shop", ("x",), plan))
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "deps").mkdir()
    (tmp_path / "deps/requirements.txt").write_text(plan.files["requirements.txt"])
    found = failure("shop", tmp_path, ca_file=base_image.build_ca_file())
    assert found is not None
    assert found.explanation.code == "no_solution"
    assert "karst-no-such-package" in found.explanation.message
