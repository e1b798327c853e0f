"""The rendered Dockerfile: exact for small cases, and closed to whatever a repository calls its things."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karst.deps import Plan
from karst.errors import KarstError
from karst.render.dockerfile import Image, exec_form, render

HEADER = """\
# Dependencies come before the source: a changed line of code reuses them.
FROM karstkit/builder:bb AS dependencies
COPY ["deps/", "/deps/"]
RUN --mount=type=cache,id=CACHE,target=/var/cache/uv \\
    --mount=type=secret,id=ca --mount=type=secret,id=netrc --mount=type=secret,id=pip_conf \\
    """
FOOTER = """\
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    VIRTUAL_ENV=/opt/venv \\
    PYTHONUNBUFFERED=1 \\
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 50051
"""
INSTALL = ("uv", "pip", "install")
LISTED = Plan(
    "requirements", "", files={"requirements.txt": "flask\n"}, install=((*INSTALL, "-r", "/deps/requirements.txt"),)
)
PROJECT = (*INSTALL, "--no-deps", "--editable", "/app")


def image(**changed: Any) -> Image:
    values: dict[str, Any] = {
        "builder_image": "karstkit/builder:bb",
        "runner_image": "karstkit/runner:aa",
        "base_image": "python:3.11-slim",
        "service": "shop",
        "argv": ("python", "/app/main.py"),
        "plan": LISTED,
        "compiled": True,
    }
    return Image(**(values | changed))


def text(**changed: Any) -> str:
    return re.sub(r"karst-uv-[0-9a-f]{8}", "CACHE", render(image(**changed)))


def test_a_list_of_requirements_takes_one_stage_and_a_copy() -> None:
    steps = '["karst-build", "uv", "pip", "install", "-r", "/deps/requirements.txt", "--then", "path", "/app", '
    assert text(labels={"karst.service": "shop"}) == (
        HEADER
        + steps
        + '"--then", "legacy", "--then", "compile", "/opt/venv", "--then", "sbom", "shop"]\n\n'
        + "# What runs: no compiler, no cache, no secret.\nFROM karstkit/runner:aa\nWORKDIR /app\n"
        + 'COPY --from=dependencies ["/opt/venv/", "/opt/venv/"]\nCOPY ["src/", "/app/"]\n'
        + FOOTER
        + 'LABEL "karst.service"="shop"\nENTRYPOINT ["/opt/karst/bin/runner"]\nCMD ["python", "/app/main.py"]\n'
    )


def test_a_program_that_is_not_python_is_its_files_on_the_runner() -> None:
    assert text(plan=None, argv=("/app/main", "--port", "80")) == (
        "# What runs: no compiler, no cache, no secret.\nFROM karstkit/runner:aa\nWORKDIR /app\n"
        'COPY ["src/", "/app/"]\n'
        + FOOTER
        + 'ENTRYPOINT ["/opt/karst/bin/runner"]\nCMD ["/app/main", "--port", "80"]\n'
    )


def test_a_project_is_installed_on_its_skeleton_before_the_source() -> None:
    found = text(plan=Plan("pyproject", "", project=(PROJECT,), skeleton={"pyproject.toml": None}))
    assert (
        found.index('COPY ["skeleton/", "/app/"]') < found.index('"--editable", "/app"') < found.index('COPY ["src/"')
    )
    assert " AS build" not in found


def test_a_told_version_is_there_when_the_skeleton_is_installed_and_not_in_the_image() -> None:
    project = Plan("pyproject", "", project=(PROJECT,), skeleton={"pyproject.toml": None}, env={"PBR_VERSION": "1.0"})
    found = text(plan=project, compiled=False)
    assert found.count("PBR_VERSION") == 1
    assert found.index("PBR_VERSION") < found.index('COPY ["skeleton/"') < found.index("FROM karstkit/runner")


def test_a_project_without_a_skeleton_is_installed_on_the_source_and_shipped_as_a_difference() -> None:
    found = text(plan=Plan("setup", "", project=(PROJECT,), env={"PBR_VERSION": "1.0"}))
    build = found[found.index("FROM dependencies AS build") :]
    assert 'ENV PBR_VERSION="1.0"\nCOPY ["src/", "/app/"]\n' in build
    assert build.index('"--editable"') < build.index('"delta"') < build.index("FROM karstkit/runner")
    assert 'COPY --from=build ["/opt/delta/", "/opt/venv/"]' in build
    assert "PBR_VERSION" not in found[found.index("FROM karstkit/runner") :]


def test_requirements_that_only_building_tells_ship_the_environment_of_the_build() -> None:
    found = text(
        plan=Plan("setup", "", project=((*INSTALL, "--editable", "/app"),), complete=False), supply=("gunicorn",)
    )
    assert 'COPY --from=build ["/opt/venv/", "/opt/venv/"]' in found
    assert found.index('"--editable"') < found.index('"supply", "gunicorn"')
    assert "delta" not in found


def test_source_that_the_kit_did_not_compile_is_compiled_in_the_build() -> None:
    assert '["karst-build", "compile", "/app"]' in text(compiled=False)


def test_what_the_launch_needs_is_supplied_after_what_the_app_brings() -> None:
    found = text(supply=("uvicorn>=0.30",))
    assert found.index("/deps/requirements.txt") < found.index('"supply", "uvicorn>=0.30"')


def test_debian_packages_are_whole_in_the_build_and_reduced_in_the_image() -> None:
    found = text(apt=("libpq-dev", "gcc"))
    build, run = found.split("# What runs")
    assert '["karst-build", "apt", "gcc", "libpq-dev"]' in build
    assert '"libraries"' in build
    assert '["python3", "-I", "/mnt/karst-build", "runtime-apt", "gcc", "libpq-dev"]' in run
    assert run.index("USER 0:0") < run.index("runtime-apt") < run.index("USER 10001:10001")


def test_wheels_built_with_other_packages_are_kept_apart() -> None:
    def cache(**changed: Any) -> str:
        return re.findall(r"karst-uv-\w+", render(image(**changed)))[0]

    assert cache() == cache(service="other")
    assert len({cache(), cache(apt=("gcc",)), cache(base_image="python:3.12-slim")}) == 3


def test_no_instruction_needs_a_frontend_from_the_network() -> None:
    found = text(apt=("gcc",), plan=Plan("setup", "", project=(PROJECT,)))
    assert "syntax=" not in found
    assert "<<" not in found


hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "x\nRUN touch /pwned",
            'x"]\nUSER root\nCMD ["sh',
            "$(id)",
            "${PATH}",
            "`id`",
            "<<EOF",
            "--then",
            "\\",
            "x\\\n",
            "\r\nUSER 0",
            "\u2028USER 0",
            "#syntax=x",
            'a" "b"="c',
            "{{ builder_image }}",
            "{% raw %}",
        ]
    ),
)


@settings(max_examples=200)
@given(argv=st.lists(hostile, min_size=1, max_size=4), labels=st.dictionaries(hostile, hostile, max_size=4))
def test_no_command_and_no_label_can_add_an_instruction(argv: list[str], labels: dict[str, str]) -> None:
    found = render(image(argv=tuple(argv), labels=labels))
    plain = render(image(argv=("x",)))
    lines = found.split("\n")
    words = [line.split(" ")[0] for line in lines if not line.startswith("LABEL ")]
    assert words == [line.split(" ")[0] for line in plain.split("\n")]
    assert json.loads(lines[-2].removeprefix("CMD ")) == argv
    assert found.isascii()
    for line in lines:
        if line.startswith("LABEL "):
            assert re.fullmatch(r'LABEL "[a-z0-9.-]+"="[\w./:@+~%,= -]+"', line)


@given(words=st.lists(hostile, max_size=5))
def test_the_exec_form_is_one_line_that_means_the_words(words: list[str]) -> None:
    found = exec_form(words)
    assert json.loads(found) == words
    assert not set("\n\r$<`") & set(found)


@pytest.mark.parametrize(
    "changed",
    [
        {"apt": ("gcc; touch x",)},
        {"apt": ("--option",)},
        {"apt": ("a\nRUN x",)},
        {"builder_image": "x\nRUN y"},
        {"runner_image": "--platform=x"},
        {"plan": Plan("setup", "", project=(PROJECT,), env={"A B": "1"})},
        {"plan": Plan("setup", "", project=(PROJECT,), env={"A": '1"\nRUN x'})},
    ],
)
def test_what_must_be_right_is_refused_when_it_is_not(changed: dict[str, Any]) -> None:
    with pytest.raises(KarstError, match="is not a valid"):
        render(image(**changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"apt": ("gcc", "libpq-dev"), "supply": ("gunicorn",), "labels": {"a": "b"}},
        {"plan": None},
        {"plan": Plan("setup", "", project=(PROJECT,), env={"PBR_VERSION": "1"}), "compiled": False},
    ],
)
def test_hadolint_finds_nothing(tmp_path: Path, changed: dict[str, Any]) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (requirements-dev.txt has it)")
    file = tmp_path / "Dockerfile"
    file.write_text(render(image(**changed)))
    done = subprocess.run([hadolint, "--no-color", file], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
