"""The brief's order: which rule answers, and with which command."""

# ruff: noqa: E501 - each little tree stays on its line
from __future__ import annotations

import pytest

from karst.detect import detect

MAIN = "def main():\n    print('hi')\n\nif __name__ == '__main__':\n    main()\n"
FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
PROJECT = '[build-system]\nrequires = ["setuptools"]\n\n[project]\nname = "pkg"\nversion = "1"\n'
SCRIPT = PROJECT + '\n[project.scripts]\nfirst = "pkg.cli:main"\nsecond = "pkg.cli:other"\n'
UVICORN = ("uvicorn", "main:app", "--host", "127.0.0.1", "--port", "${PORT}")

CASES = {
    "the first console script of pyproject.toml": (
        {"pyproject.toml": SCRIPT, "pkg/__init__.py": "", "pkg/cli.py": MAIN + "\ndef other(): ...\n", "main.py": MAIN},
        ("console-script", ("first",), "pyproject.toml:9"),
    ),
    "a console script of poetry": (
        {
            "pyproject.toml": '[build-system]\nrequires = ["poetry-core"]\n[tool.poetry]\nname = "pkg"\n'
            '[tool.poetry.scripts]\ntool = "pkg:main"\n',
            "pkg/__init__.py": MAIN,
        },
        ("console-script", ("tool",), "pyproject.toml:6"),
    ),
    "a console script of setup.cfg": (
        {
            "setup.cfg": "[metadata]\nname = pkg\n[options.entry_points]\nconsole_scripts =\n    tool = pkg:main\n",
            "setup.py": "from setuptools import setup\nsetup()\n",
            "pkg/__init__.py": MAIN,
        },
        ("console-script", ("tool",), "setup.cfg:5"),
    ),
    "a console script of setup.py, read from its syntax tree": (
        {
            "setup.py": "import setuptools\nNAME = 'pkg'\nPOINTS = {'console_scripts': [f'tool = {NAME}.cli:main']}\n"
            "setuptools.setup(name=NAME, entry_points=POINTS)\n",
            "pkg/__init__.py": "",
            "pkg/cli.py": MAIN,
        },
        ("console-script", ("tool",), "setup.py:4"),
    ),
    "a console script whose module is not in the tree is passed over": (
        {
            "pyproject.toml": SCRIPT.replace("pkg.cli:main", "gone.cli:main"),
            "pkg/__init__.py": "",
            "pkg/cli.py": "def other(): ...",
        },
        ("console-script", ("second",), "pyproject.toml:10"),
    ),
    "a helper for developers is no start, whatever its place": (
        {
            "pyproject.toml": PROJECT + '[project.scripts]\nlint = "pkg.dev:lint"\nserve = "pkg.cli:main"\n',
            "pkg/__init__.py": "",
            "pkg/dev.py": "def lint(): ...",
            "pkg/cli.py": MAIN,
        },
        ("console-script", ("serve",), "pyproject.toml:9"),
    ),
    "a script of a project that cannot be installed is called by its function": (
        {
            "pyproject.toml": '[tool.poetry]\nname = "x"\npackage-mode = false\n[tool.poetry.scripts]\nrun = "main:main"\n',
            "main.py": MAIN,
        },
        ("console-script", ("python", "-c", "import sys; from main import main; sys.exit(main())"), "pyproject.toml:5"),
    ),
    "the package of the project's own name before others": (
        {"pyproject.toml": PROJECT, "aaa/__main__.py": MAIN, "pkg/__main__.py": MAIN, "pkg/__init__.py": ""},
        ("package-main", ("python", "-m", "pkg"), "pkg/__main__.py:4"),
    ),
    "the package with a __main__, never tests or docs": (
        {"requirements.txt": "", "docs/__main__.py": MAIN, "beta/__main__.py": MAIN, "tests/__main__.py": MAIN},
        ("package-main", ("python", "-m", "beta"), "beta/__main__.py:4"),
    ),
    "main.py where several packages have a __main__": (
        {"requirements.txt": "", "main.py": MAIN, "beta/__main__.py": MAIN, "alpha/__main__.py": MAIN},
        ("root-main", ("python", "/app/main.py"), "main.py:4"),
    ),
    "a guarded main.py at the root": ({"main.py": MAIN}, ("root-main", ("python", "/app/main.py"), "main.py:4")),
    "a __main__.py at the root": (
        {"__main__.py": MAIN},
        ("root-main", ("python", "/app/__main__.py"), "__main__.py:4"),
    ),
    "main.py before app.py": (
        {"main.py": MAIN, "app.py": MAIN},
        ("root-main", ("python", "/app/main.py"), "main.py:4"),
    ),
    "an app.py when main.py only defines things": (
        {"main.py": "X = 1\n", "app.py": MAIN},
        ("app-file", ("python", "/app/app.py"), "app.py:4"),
    ),
    "app/__main__.py comes after a root main.py": (
        {"main.py": MAIN, "app/__main__.py": MAIN},
        ("root-main", ("python", "/app/main.py"), "main.py:4"),
    ),
    "app/__main__.py": ({"app/__main__.py": MAIN}, ("app-file", ("python", "-m", "app"), "app/__main__.py:4")),
    "src/{package}/__main__.py": (
        {"requirements.txt": "", "src/thing/__main__.py": MAIN},
        ("app-file", ("python", "-m", "thing"), "src/thing/__main__.py:4"),
    ),
    "an unguarded FastAPI object is served by uvicorn": ({"main.py": FASTAPI}, ("root-main", UVICORN, "main.py:3")),
    "any file with a guard, at last": (
        {"snake.py": MAIN, "lib/board.py": "X = 1\n"},
        ("scan", ("python", "/app/snake.py"), "snake.py:4"),
    ),
    "any file with def main(, at last": (
        {"snake.py": "def main():\n    pass\n"},
        ("scan", ("python", "-c", "import sys; from snake import main; sys.exit(main())"), "snake.py:1"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_the_brief_picks(name: str, plant) -> None:
    files, (rule, argv, evidence) = CASES[name]
    found = detect(plant(files))
    assert (found.rule, found.argv, found.evidence) == (rule, argv, evidence)
    assert found.reason
    assert found.kind in ("server", "job", "unknown")


def test_later_hits_are_listed_as_alternatives(ask) -> None:
    found = ask({"main.py": MAIN, "app.py": FASTAPI})
    assert [item.rule for item in found.alternatives] == ["app-file"]
    assert found.alternatives[0].argv[:2] == ("uvicorn", "app:app")


def test_arguments_of_the_list_come_last(ask) -> None:
    assert ask({"main.py": MAIN}, args=["--port", "80"]).argv == ("python", "/app/main.py", "--port", "80")


def test_a_src_package_without_an_installable_project_gets_an_import_path(ask) -> None:
    found = ask({"requirements.txt": "", "src/thing/__main__.py": MAIN})
    assert found.env == {"PYTHONPATH": "/app/src"}
    assert not found.install


def test_a_console_script_says_that_the_project_must_be_installed(ask) -> None:
    found = ask({"pyproject.toml": SCRIPT, "pkg/__init__.py": "", "pkg/cli.py": MAIN})
    assert found.install
    assert found.launch == "console-script"


def test_a_project_named_like_a_skipped_folder_is_still_itself(ask) -> None:
    found = ask({"pyproject.toml": PROJECT.replace("pkg", "demo"), "demo/__init__.py": "", "demo/__main__.py": MAIN})
    assert found.argv == ("python", "-m", "demo")


def test_a_script_outside_what_gets_installed_is_called_by_its_function(ask) -> None:
    project = PROJECT + '[project.scripts]\nbot = "src.bot:main"\n[tool.setuptools]\npackage-dir = {"" = "src"}\n'
    found = ask({"pyproject.toml": project, "src/__init__.py": "", "src/bot.py": MAIN, "src/pkg/__init__.py": ""})
    assert found.argv == ("python", "-c", "import sys; from src.bot import main; sys.exit(main())")
    assert not found.install


def test_in_an_alphabetical_list_of_scripts_the_project_s_own_name_wins(ask) -> None:
    scripts = '[project.scripts]\npkg-adm = "pkg:main"\npkg-fsck = "pkg:main"\npkg-zap = "pkg:main"\npkg = "pkg:main"\n'
    files = {"pyproject.toml": PROJECT + scripts, "pkg/__init__.py": MAIN}
    assert ask(files).argv == ("pkg-adm",)
    files["pyproject.toml"] = PROJECT + scripts.replace('pkg = "pkg:main"\n', "").replace("pkg-fsck", "pkg")
    assert ask(files).argv == ("pkg-adm",)
    files["pyproject.toml"] = PROJECT.replace('"pkg"', '"pkg-fsck"') + scripts.replace('pkg = "pkg:main"\n', "")
    assert ask(files).argv == ("pkg-fsck",)


def test_a_console_script_may_go_through_a_module_of_its_package(ask) -> None:
    files = {"pyproject.toml": PROJECT + '[project.scripts]\nbot = "pkg:web.run"\n', "pkg/__init__.py": "", "pkg/web.py": "def run(): ...\n"}  # fmt: skip
    assert ask(files).argv == ("bot",)
