"""Real lock files of every tool, turned into pinned requirements.

The files in ``locks/`` were written by Poetry 2.5, 1.8 and 1.4, PDM 2.20 (with and without inherited metadata), Pipenv
2024 and uv, from one set of requirements. What they should give was read off ``poetry install --dry-run``, ``pdm export
--prod`` and ``pipenv requirements``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from karst.deps import Plan, Request, choose

LOCKS = Path(__file__).parent / "locks"
FOREIGN = ["poetry-2.5", "poetry-1.8.5", "poetry-1.4.2", "pdm", "pdm-walk", "pipenv"]
# On Linux with 3.11: no colorama (Windows), no tomli and exceptiongroup (older Python), no redis (extra), no iniconfig
# (development); socksio because of httpx[socks].
ON_311 = {"anyio", "certifi", "click", "h11", "httpcore", "httpx", "idna", "sniffio", "socksio", "typing-extensions"}


def plan(folder: str, python: str = "3.11", script: str = "till") -> Plan:
    return choose(Request(source=LOCKS / folder, argv=(script,), launch="console-script", python=python))


def names(text: str) -> list[str]:
    return [line.split("==")[0] for line in text.splitlines() if "==" in line and not line.startswith(" ")]


@pytest.mark.parametrize("folder", FOREIGN)
def test_a_lock_gives_exactly_what_its_tool_would_install(folder: str) -> None:
    found = plan(folder)
    assert names(found.files["requirements.txt"]) == sorted(ON_311)
    assert found.complete
    assert found.notes == ()


@pytest.mark.parametrize("folder", FOREIGN)
def test_every_pin_keeps_its_hashes_and_uv_is_told_to_insist(folder: str) -> None:
    found = plan(folder)
    blocks = re.split(r"\n(?=\S)", found.files["requirements.txt"].strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "--require-hashes" in found.install[0]
    assert "--no-deps" in found.install[0]


@pytest.mark.parametrize("folder", [name for name in FOREIGN if name != "pipenv"])
def test_an_unknown_python_leaves_the_condition_in_the_file(folder: str) -> None:
    text = plan(folder, python="").files["requirements.txt"]
    assert re.search(r'^tomli==\S+ ; python_version < "3\.11" \\$', text, re.M)
    assert "colorama" not in text


@pytest.mark.parametrize("folder", ["poetry-2.5", "poetry-1.8.5", "poetry-1.4.2"])
def test_two_locked_versions_of_one_package_stay_apart(folder: str) -> None:
    versions = re.findall(r"^idna==(\S+) ; (.*) \\$", plan(folder, python="").files["requirements.txt"], re.M)
    assert [version for version, _ in versions] == ["3.20", "3.7"]
    assert "idna==3.20" in plan(folder, python="3.11").files["requirements.txt"]
    assert "idna==3.7" in plan(folder, python="3.9").files["requirements.txt"]


def test_the_two_strategies_of_pdm_give_the_same_file() -> None:
    assert plan("pdm").files == plan("pdm-walk").files


@pytest.mark.parametrize("folder", ["poetry-2.5", "poetry-1.8.5", "pdm", "pdm-walk"])
def test_an_extra_that_the_script_names_brings_its_packages(folder: str, tmp_path: Path) -> None:
    for file in (LOCKS / folder).iterdir():
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace('till = "till.cli:main"', 'till = "till.cli:main [cache]"'))
    found = choose(Request(source=tmp_path, argv=("till",), launch="console-script", python="3.11"))
    if folder.startswith("poetry"):
        assert "redis" in names(found.files["requirements.txt"])
    else:  # PDM locks an extra only when it is asked to; it is installed all the same, and a note says so.
        assert found.files["missing.txt"] == "redis>=5,<6\n"
        assert "redis" in found.notes[0]


def test_poetry_1_1_keeps_its_hashes_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\nclick = "*"\n')
    (tmp_path / "poetry.lock").write_text(
        '[[package]]\nname = "click"\nversion = "8.0.1"\ncategory = "main"\noptional = false\n'
        '[metadata]\nlock-version = "1.1"\n[metadata.files]\nclick = [{file = "c.whl", hash = "sha256:'
        + "a" * 64
        + '"}]\n'
    )
    text = choose(Request(source=tmp_path, python="3.11")).files["requirements.txt"]
    assert text == "click==8.0.1 \\\n    --hash=sha256:" + "a" * 64 + "\n"


def test_a_git_source_is_pinned_to_its_commit_and_brings_git(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\nx = "*"\n')
    (tmp_path / "poetry.lock").write_text(
        '[[package]]\nname = "x"\nversion = "1.0"\noptional = false\n[package.source]\ntype = "git"\n'
        'url = "git@host.example:o/x.git"\nreference = "main"\nsubdirectory = "py"\n'
        f'resolved_reference = "{"b" * 40}"\n'
    )
    found = choose(Request(source=tmp_path, python="3.11"))
    assert found.files["requirements.txt"] == f"x @ git+ssh://git@host.example/o/x.git@{'b' * 40}#subdirectory=py\n"
    assert "--require-hashes" not in found.install[0]
    assert "git" in found.apt


def test_a_lock_older_than_the_project_says_so_and_installs_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\nclick = "^8"\nrich = "^13.1"\n'
    )
    (tmp_path / "poetry.lock").write_text('[[package]]\nname = "click"\nversion = "8.0.1"\noptional = false\n')
    found = choose(Request(source=tmp_path, python="3.11"))
    assert found.files["missing.txt"] == "rich>=13.1,<14.0\n"
    assert found.install[1][-1] == "/deps/missing.txt"
    assert "rich is not in it" in found.notes[0]


def test_uv_reads_its_own_lock() -> None:
    found = plan("uv")
    assert found.manifests == ("pyproject.toml", "uv.lock")
    assert found.install == (
        ("uv", "sync", "--frozen", "--inexact", "--no-dev", "--no-install-local", "--project", "/deps"),
    )
    assert found.project == (("uv", "sync", "--frozen", "--inexact", "--no-dev", "--project", "/app"),)


def test_a_private_index_of_the_lock_is_looked_at_and_pypi_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\nx = "*"\n')
    entry = '[[package]]\nname = "{}"\nversion = "1"\noptional = false\nfiles = [{{file = "f", hash = "sha256:00"}}]\n'
    source = '[package.source]\ntype = "legacy"\nurl = "{}"\nreference = "r"\n'
    lock = tmp_path / "poetry.lock"
    lock.write_text(entry.format("x") + source.format("https://pypi.org/simple/"))
    assert "--extra-index-url" not in choose(Request(source=tmp_path)).install[0]
    lock.write_text(entry.format("x") + source.format("https://index.example/simple"))
    assert "https://index.example/simple" in choose(Request(source=tmp_path)).install[0]
