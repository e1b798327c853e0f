"""The few files on which an editable install gives the same result as on the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst.deps.skeleton import of
from karst.deps.tree import Tree

PROJECT = '[project]\nname = "shop"\nversion = "1.0"\nreadme = "docs/about.md"\n'
BACKENDS = {
    "hatchling": "hatchling.build",
    "poetry-core": "poetry.core.masonry.api",
    "pdm-backend": "pdm.backend",
    "flit_core>=3.4": "flit_core.buildapi",
    "uv_build": "uv_build",
    "setuptools": "setuptools.build_meta",
}


def repo(folder: Path, **files: str) -> Tree:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(folder)


def build(requirement: str, backend: str) -> str:
    return f'[build-system]\nrequires = ["{requirement}"]\nbuild-backend = "{backend}"\n'


@pytest.mark.parametrize(("requirement", "backend"), BACKENDS.items())
def test_it_holds_shape_and_manifests_and_no_code(tmp_path: Path, requirement: str, backend: str) -> None:
    files = {
        "pyproject.toml": PROJECT + build(requirement, backend),
        "docs/about.md": "long",
        "LICENSE": "terms",
        "shop/__init__.py": "'''Doc'''\n",
        "shop/web/views.py": "x = 1\n",
        "shop/data/table.csv": "a,b\n",
        "main.py": "print()\n",
    }
    found = of(repo(tmp_path, **files))
    assert found is not None
    assert {name for name, text in found.items() if text is None} - {"shop/__init__.py"} == {
        "pyproject.toml",
        "LICENSE",
    }
    assert found["shop/web/views.py"] == "" == found["main.py"]
    assert found["docs/about.md"] != "long"
    assert "shop/data/table.csv" not in found
    assert found["shop/data/.keep"] == ""


def test_a_changed_line_of_code_does_not_change_it(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": PROJECT + build("hatchling", "hatchling.build"),
        "shop/__init__.py": "",
        "shop/a.py": "x = 1",
    }
    before = of(repo(tmp_path, **files))
    assert before is not None
    assert of(repo(tmp_path, **files | {"shop/a.py": "x = 2", "shop/b.py": ""})) == before
    assert of(repo(tmp_path, **{"shop/new/c.py": ""})) != before


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (
            {"pyproject.toml": '[tool.hatch.version]\npath = "shop/v.py"\n', "shop/v.py": "__version__ = '1'"},
            "shop/v.py",
        ),
        (
            {"pyproject.toml": '[tool.setuptools.dynamic]\nversion = { attr = "shop.__version__" }\n'},
            "shop/__init__.py",
        ),
        ({"setup.cfg": "[metadata]\nversion = attr: shop.__version__\n"}, "shop/__init__.py"),
        ({"pyproject.toml": '[tool.setuptools.dynamic]\nversion = { file = "VERSION" }\n', "VERSION": "1"}, "VERSION"),
    ],
)
def test_the_file_that_holds_the_version_is_copied(tmp_path: Path, files: dict[str, str], wanted: str) -> None:
    files = {"shop/__init__.py": "__version__ = '1'\n", **files}
    files["pyproject.toml"] = '[project]\nname = "shop"\n' + files.get("pyproject.toml", "")
    found = of(repo(tmp_path, **files))
    assert found is not None
    assert found[wanted] is None


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "from setuptools import setup\nsetup(name=open('x').read())"},
        {"setup.py": "import shop\nfrom setuptools import setup\nsetup()"},
        {"pyproject.toml": PROJECT + build("meson-python", "mesonpy")},
        {"pyproject.toml": PROJECT + '[tool.hatch.build.hooks.vcs]\nversion-file = "v.py"\n'},
        {"pyproject.toml": PROJECT + '[tool.hatch.build.targets.wheel.force-include]\na = "b"\n'},
        {"pyproject.toml": PROJECT + '[[tool.setuptools.ext-modules]]\nname = "x"\n'},
        {"pyproject.toml": PROJECT + '[tool.pdm.version]\nsource = "scm"\n'},
        {"pyproject.toml": PROJECT + '[tool.uv.workspace]\nmembers = ["a"]\n'},
        {"pyproject.toml": PROJECT + '[tool.uv.sources]\na = { path = "a" }\n'},
        {"pyproject.toml": '[project]\nname = "a"\n[tool.setuptools.dynamic]\nversion = { attr = "shop.v" }\n'},
        {"pyproject.toml": PROJECT + build("pdm-backend", "pdm.backend"), "pdm_build.py": ""},
    ],
)
def test_there_is_none_where_the_result_may_depend_on_more(tmp_path: Path, files: dict[str, str]) -> None:
    assert of(repo(tmp_path, **{"shop/__init__.py": "from .x import v\n", **files})) is None


def test_an_empty_setup_py_is_no_obstacle(tmp_path: Path) -> None:
    text = (
        "#!/usr/bin/env python\n'''Shim.'''\nimport setuptools\n\nif __name__ == '__main__':\n    setuptools.setup()\n"
    )
    assert of(repo(tmp_path, **{"setup.py": text, "setup.cfg": "[metadata]\nname = a\n"})) is not None
