"""setup.py and setup.cfg, read and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst.deps.setup_static import SetupFacts, read
from karst.deps.tree import Tree


def facts(folder: Path, setup_py: str = "", setup_cfg: str = "", **files: str) -> SetupFacts:
    for name, text in {"setup.py": setup_py, "setup.cfg": setup_cfg, **files}.items():
        if text:
            (folder / name).write_text(text)
    return read(Tree(folder))


def test_literals_names_and_sums_are_followed(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        "import setuptools\nbase = ['a>=1']\nmore = base + ['b']\n"
        "setuptools.setup(name='shop', version='1.2', install_requires=more, extras_require={'x': ['c'], 'y': 'd'},\n"
        "    entry_points={'console_scripts': ['shop = shop.cli:main']}, ext_modules=[e])",
    )
    assert (found.name, found.version, found.requires) == ("shop", "1.2", ["a>=1", "b"])
    assert found.extras == {"x": ["c"], "y": ["d"]}
    assert found.scripts == ["shop = shop.cli:main"]
    assert found.extensions


@pytest.mark.parametrize(
    "value", ["read('requirements.txt')", "open('r').read().split()", "[x for x in y]", "a if b else c"]
)
def test_computed_requirements_are_unknown_not_guessed(tmp_path: Path, value: str) -> None:
    assert facts(tmp_path, f"from setuptools import setup\nsetup(name='a', install_requires={value})").requires is None


def test_spread_keywords_leave_the_requirements_unknown(tmp_path: Path) -> None:
    assert facts(tmp_path, "from setuptools import setup\nsetup(**config)").requires is None


@pytest.mark.parametrize("change", ["if x:\n    deps += ['b']", "deps.append('b')", "deps = ['b']", "del deps[0]"])
def test_a_list_that_is_changed_is_not_taken_for_what_it_began_as(tmp_path: Path, change: str) -> None:
    text = f"from setuptools import setup\ndeps = ['a']\n{change}\nsetup(install_requires=deps)"
    assert facts(tmp_path, text).requires is None


def test_an_extra_that_is_a_condition_is_a_requirement(tmp_path: Path) -> None:
    extras = "{':sys_platform!=\"win32\"': ['d'], 'x': ['c'], 'x:python_version>\"3\"': ['e']}"
    found = facts(tmp_path, f"from setuptools import setup\nsetup(install_requires=['a'], extras_require={extras})")
    assert found.requires == ["a", 'd ; sys_platform!="win32"']
    assert found.extras == {"x": ["c", 'e ; python_version>"3"']}


def test_no_requirements_are_an_empty_list(tmp_path: Path) -> None:
    assert facts(tmp_path, "from setuptools import setup\nsetup(name='a')").requires == []


def test_scripts_in_a_text_are_read(tmp_path: Path) -> None:
    text = "from setuptools import setup\nsetup(entry_points='''\n[console_scripts]\nx = a:b\n[other]\ny = c:d\n''')"
    assert facts(tmp_path, text).scripts == ["x = a:b"]


def test_setup_cfg_says_more_than_an_empty_setup_py(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        "from setuptools import setup\nsetup()",
        "[metadata]\nname = shop\nversion = attr: shop.v\n[options]\ninstall_requires =\n    a\n    # c\n    b>=2\n"
        "[options.extras_require]\nx = c\n[options.entry_points]\nconsole_scripts =\n    s = m:f\n",
    )
    assert (found.name, found.version, found.requires) == ("shop", "", ["a", "b>=2"])
    assert (found.extras, found.scripts) == ({"x": ["c"]}, ["s = m:f"])


def test_requirements_in_a_named_file_are_read(tmp_path: Path) -> None:
    cfg = "[metadata]\nname = a\n[options]\ninstall_requires = file: req.txt\n"
    assert facts(tmp_path, setup_cfg=cfg, **{"req.txt": "x\n# y\nz\n"}).requires == ["x", "z"]


@pytest.mark.parametrize("text", ["def broken(:\n", "print 'two'\n", "\0"])
def test_a_setup_py_that_does_not_parse_says_nothing(tmp_path: Path, text: str) -> None:
    assert facts(tmp_path, text).name == ""


def test_nothing_of_it_is_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    facts(tmp_path, f"open({str(target)!r}, 'w')\nfrom setuptools import setup\nsetup(name=open({str(target)!r}, 'w'))")
    assert not target.exists()
