"""The choice between a repository's files, and what it makes of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karst.deps import Plan, Request, choose
from karst.errors import KarstError

BUILD = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
PROJECT = '[project]\nname = "shop"\nversion = "1.0"\ndependencies = ["flask>=3"]\n'


def repo(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def plan(folder: Path, files: dict[str, str], **request: Any) -> Plan:
    return choose(Request(source=repo(folder, files), python="3.11", **request))


LOCK = "version = 1\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("poetry.lock", '[[package]]\nversion = "1"\n[metadata]\nlock-version = "2.0"\n'),
        ("pdm.lock", '[[package]]\nversion = "1"\n'),
        ("Pipfile.lock", '{"default": {"flask": 3}}'),
    ],
)
def test_a_lock_that_its_tool_did_not_write_is_named(name: str, text: str, tmp_path: Path) -> None:
    files = {name: text, "pyproject.toml": PROJECT + '[tool.poetry]\nname = "shop"\n', "Pipfile": ""}
    with pytest.raises(KarstError, match=f"^{name} does not have the form"):
        plan(tmp_path, files)


@pytest.mark.parametrize(
    ("files", "kind", "evidence"),
    [
        ({}, "none", ""),
        ({"uv.lock": LOCK, "pyproject.toml": PROJECT, "poetry.lock": ""}, "uv.lock", "uv.lock"),
        ({"uv.lock": LOCK, "requirements.txt": "a\n"}, "requirements", "requirements.txt"),
        ({"poetry.lock": "", "pyproject.toml": PROJECT, "pdm.lock": ""}, "poetry.lock", "poetry.lock"),
        (
            {"poetry.lock": "", "pyproject.toml": "[tool.black]\n", "requirements.txt": "a\n"},
            "requirements",
            "requirements.txt",
        ),
        ({"pdm.lock": "", "pyproject.toml": PROJECT, "Pipfile.lock": "{}"}, "pdm.lock", "pdm.lock"),
        ({"pylock.toml": "", "Pipfile.lock": "{}"}, "pylock.toml", "pylock.toml"),
        ({"Pipfile.lock": "{}", "Pipfile": "", "requirements.txt": "a\n"}, "Pipfile.lock", "Pipfile.lock"),
        ({"requirements.txt": "a\n", "Pipfile": "", "pyproject.toml": PROJECT}, "requirements", "requirements.txt"),
        ({"Pipfile": '[packages]\na = "*"\n', "pyproject.toml": PROJECT}, "Pipfile", "Pipfile"),
        ({"pyproject.toml": PROJECT, "setup.py": "setup()"}, "pyproject", "pyproject.toml"),
        ({"setup.cfg": "[metadata]\nname = a\n"}, "setup", "setup.cfg"),
        ({"setup.py": "from setuptools import setup\nsetup(name='a')"}, "setup", "setup.py"),
        ({"pyproject.toml": "[tool.ruff]\n"}, "none", ""),
    ],
)
def test_a_lock_comes_before_a_list_and_a_list_before_metadata(
    tmp_path: Path, files: dict[str, str], kind: str, evidence: str
) -> None:
    found = plan(tmp_path, files)
    assert (found.kind, found.evidence) == (kind, evidence)
    assert found.reason


def test_requirements_and_the_project_are_both_installed_the_pins_first(tmp_path: Path) -> None:
    found = plan(tmp_path, {"requirements.txt": "flask==3.0.1\n", "pyproject.toml": PROJECT + BUILD, "shop.py": ""})
    assert [command[-1] for command in found.install] == ["/deps/requirements.txt", "/deps/project.txt"]
    assert found.files["project.txt"] == "flask>=3\n"
    assert found.project == (("uv", "pip", "install", "--no-deps", "--editable", "/app"),)


def test_a_hashed_list_is_complete_by_itself(tmp_path: Path) -> None:
    found = plan(tmp_path, {"requirements.txt": "a==1 --hash=sha256:00\n", "pyproject.toml": PROJECT + BUILD})
    assert "project.txt" not in found.files
    assert found.complete


def test_computed_requirements_are_left_to_the_build(tmp_path: Path) -> None:
    found = plan(tmp_path, {"setup.py": "from setuptools import setup\nsetup(name='a', install_requires=read())"})
    assert not found.complete
    assert found.install == ()
    assert found.project == (("uv", "pip", "install", "--editable", "/app"),)


def test_a_table_without_a_build_system_is_not_installed(tmp_path: Path) -> None:
    found = plan(tmp_path, {"pyproject.toml": PROJECT})
    assert found.project == ()
    assert found.files["requirements.txt"] == "flask>=3\n"


@pytest.mark.parametrize(
    "off",
    ["[tool.poetry]\npackage-mode = false\n", "[tool.uv]\npackage = false\n", "[tool.pdm]\ndistribution = false\n"],
)
def test_a_project_that_says_it_is_no_package_is_not_installed(tmp_path: Path, off: str) -> None:
    assert plan(tmp_path, {"pyproject.toml": PROJECT + BUILD + off}).project == ()


def test_a_script_of_a_project_that_is_not_installed_is_written_by_the_build(tmp_path: Path) -> None:
    text = PROJECT + '[project.scripts]\nshop = "shop.cli:main"\nbad = "x; import os:y"\n'
    found = plan(tmp_path, {"pyproject.toml": text}, argv=("shop",), launch="console-script", install=True)
    assert found.scripts == {"shop": "shop.cli:main"}
    assert plan(tmp_path, {"pyproject.toml": text}, argv=("bad",), launch="console-script").scripts == {}


def test_a_backend_that_compiles_is_not_installed_as_a_path(tmp_path: Path) -> None:
    text = PROJECT + '[build-system]\nrequires = ["meson-python"]\nbuild-backend = "mesonpy"\n'
    found = plan(tmp_path, {"pyproject.toml": text})
    assert found.project == (("uv", "pip", "install", "--no-deps", "/app"),)
    assert found.skeleton is None


@pytest.mark.parametrize("pin", ["setuptools<60", "setuptools==58.1.0", "flit_core >=2,<3"])
def test_a_backend_pinned_to_before_pep_660_is_not_installed_as_a_path(tmp_path: Path, pin: str) -> None:
    backend = "flit_core.buildapi" if "flit" in pin else "setuptools.build_meta"
    text = PROJECT + f'[build-system]\nrequires = ["{pin}"]\nbuild-backend = "{backend}"\n'
    assert "--editable" not in plan(tmp_path, {"pyproject.toml": text}).project[0]


def test_a_failing_install_of_the_project_matters_only_when_the_command_needs_it(tmp_path: Path) -> None:
    files = {"pyproject.toml": PROJECT + BUILD}
    assert plan(tmp_path, files, argv=("python", "/app/main.py"), launch="file").project_optional
    assert not plan(tmp_path, files, argv=("shop",), launch="console-script", install=True).project_optional
    assert not plan(tmp_path, files, argv=("python", "-m", "shop"), launch="module", install=True).project_optional


@pytest.mark.parametrize(
    ("requirement", "needs_git"),
    [("x @ git+https://h/o/x@abc", True), ("gitpython>=3", False), ("digit", False)],
)
def test_git_is_there_in_the_build_only_when_a_requirement_comes_from_git(
    tmp_path: Path, requirement: str, needs_git: bool
) -> None:
    assert ("git" in plan(tmp_path, {"requirements.txt": requirement + "\n"}).apt) is needs_git


def test_uv_reads_pyproject_itself_when_it_says_where_packages_come_from(tmp_path: Path) -> None:
    text = PROJECT + '[tool.uv.sources]\nflask = { git = "https://h/o/flask" }\n'
    found = plan(tmp_path, {"pyproject.toml": text})
    assert found.manifests == ("pyproject.toml",)
    assert found.install == (("uv", "pip", "install", "-r", "/deps/pyproject.toml"),)
    assert "git" in found.apt


def test_a_folder_of_the_repository_is_installed_from_there_and_its_needs_before(tmp_path: Path) -> None:
    lib = '[project]\nname = "lib"\nversion = "1"\ndependencies = ["rich"]\n' + BUILD
    found = plan(tmp_path, {"requirements.txt": "-e ./lib\nflask\n", "lib/pyproject.toml": lib})
    assert found.files["project.txt"] == "rich\n"
    assert found.project == (("uv", "pip", "install", "--no-deps", "--editable", "/app/lib"),)


def test_a_folder_outside_the_repository_is_named_and_left_out(tmp_path: Path) -> None:
    found = plan(tmp_path, {"requirements.txt": "-e ../lib\nflask\n"})
    assert found.project == ()
    assert "../lib" in found.notes[0]


def test_wheels_of_the_repository_come_along_into_the_dependency_layer(tmp_path: Path) -> None:
    found = plan(tmp_path, {"requirements.txt": "--find-links ./wheels\na\n", "wheels/a-1.whl": ""})
    assert found.manifests == ("wheels",)
    assert "--find-links /deps/wheels" in found.files["requirements.txt"]


def test_poetry_without_a_lock_is_translated(tmp_path: Path) -> None:
    text = (
        '[tool.poetry]\nname = "a"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.9"\nflask = "^3.0"\n'
        'x = { version = "~1.2", extras = ["b"], python = ">=3.10" }\nlib = { path = "lib" }\n'
        'g = { git = "https://h/o/g", tag = "v1" }\nopt = { version = "1", optional = true }\n'
    )
    found = plan(tmp_path, {"pyproject.toml": text, "lib/setup.py": "from setuptools import setup\nsetup(name='lib')"})
    assert found.files["requirements.txt"].splitlines() == [
        "flask>=3.0,<4.0",
        'x[b]>=1.2,<1.3 ; python_version >= "3.10"',
        "g @ git+https://h/o/g@v1",
    ]
    assert found.project[0][-1] == "/app/lib"


def test_inline_metadata_of_a_script_is_read(tmp_path: Path) -> None:
    script = '# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n#   "rich",\n# ]\n# ///\nimport rich\n'
    found = plan(tmp_path, {"main.py": script}, argv=("python", "/app/main.py"), launch="file")
    assert (found.kind, found.files) == ("inline", {"requirements.txt": "rich\n"})


def test_a_conda_environment_is_named_but_not_read(tmp_path: Path) -> None:
    assert "conda" in plan(tmp_path, {"environment.yml": "dependencies: [numpy]\n"}).notes[0]


def test_the_extra_that_the_entry_imports_is_installed_with_the_place(tmp_path: Path) -> None:
    text = PROJECT.replace("flask>=3", "click") + (
        '[project.optional-dependencies]\nserver = ["flask", "waitress"]\nall = ["shop[server]", "rich", "redis"]\n'
        'dev = ["flask"]\n[project.scripts]\nshop = "shop.cli:main"\n' + BUILD
    )
    files = {
        "pyproject.toml": text,
        "shop/__init__.py": "",
        "shop/cli.py": "from . import web\ntry:\n    import rich\nexcept ImportError:\n    rich = None\n",
        "shop/web.py": "import os\nfrom flask import Flask\n",
    }
    found = plan(tmp_path, files, argv=("shop",), launch="console-script", install=True)
    assert found.files["requirements.txt"].splitlines() == ["click", "flask", "waitress"]
    assert found.notes == ("extra `server` is installed because of shop/web.py:2",)


def test_a_name_that_is_no_extra_never_reaches_the_command_line(tmp_path: Path) -> None:
    text = (
        PROJECT
        + '[project.optional-dependencies]\n"--then" = ["x"]\n[project.scripts]\ns = "a:b [--then, ok]"\n'
        + BUILD
    )
    found = plan(tmp_path, {"pyproject.toml": text}, argv=("s",), launch="console-script")
    assert all("--then" not in word for command in found.install + found.project for word in command)


def test_an_extra_that_only_a_function_imports_is_not_installed(tmp_path: Path) -> None:
    text = PROJECT + '[project.optional-dependencies]\nredis = ["redis"]\n' + BUILD
    files = {"pyproject.toml": text, "main.py": "def main():\n    import redis\n"}
    assert plan(tmp_path, files, argv=("python", "/app/main.py"), launch="file").notes == ()


@pytest.mark.parametrize(
    ("tool", "variables"),
    [
        ("setuptools_scm[toml]>=8", {"SETUPTOOLS_SCM_PRETEND_VERSION", "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SHOP_WEB"}),
        ("hatch-vcs", {"SETUPTOOLS_SCM_PRETEND_VERSION", "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SHOP_WEB"}),
        ("pbr", {"PBR_VERSION"}),
        ("poetry-dynamic-versioning", {"POETRY_DYNAMIC_VERSIONING_BYPASS"}),
        ("uv-dynamic-versioning", {"UV_DYNAMIC_VERSIONING_BYPASS"}),
        ("wheel", set()),
    ],
)
def test_a_project_that_asks_git_for_its_version_is_told_one(tmp_path: Path, tool: str, variables: set[str]) -> None:
    text = f'[project]\nname = "shop-web"\ndynamic = ["version"]\n[build-system]\nrequires = ["x", "{tool}"]\n'
    found = plan(tmp_path, {"pyproject.toml": text}, revision="ab" * 20, ref="main")
    assert found.env == dict.fromkeys(variables, "0.0.0+gabababababab")
    assert plan(tmp_path, {}, revision="ab" * 20, ref="v1.2.3").version == "1.2.3"


def test_a_project_that_is_told_its_version_need_not_wait_for_the_source(tmp_path: Path) -> None:
    text = (
        '[project]\nname = "shop"\ndynamic = ["version"]\n[tool.hatch.version]\nsource = "vcs"\n'
        '[build-system]\nrequires = ["hatchling", "hatch-vcs"]\nbuild-backend = "hatchling.build"\n'
    )
    found = plan(tmp_path, {"pyproject.toml": text, "shop/__init__.py": ""}, revision="ab" * 20)
    assert found.env["SETUPTOOLS_SCM_PRETEND_VERSION"] == "0.0.0+gabababababab"
    assert found.skeleton is not None


def test_broken_toml_is_one_sentence_with_the_file(tmp_path: Path) -> None:
    from karst.errors import KarstError

    with pytest.raises(KarstError, match=r"^pyproject\.toml is not valid TOML"):
        plan(tmp_path, {"pyproject.toml": "[project\n"})
