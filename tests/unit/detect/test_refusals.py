"""Every refusal has its own code, a place, and a way out."""

# ruff: noqa: E501 - each little tree stays on its line
from __future__ import annotations

import platform
import struct

import pytest

from karst.detect import detect

MAIN = "def main():\n    pass\n\nif __name__ == '__main__':\n    main()\n"
MACHINE = {"x86_64": 62, "aarch64": 183}.get(platform.machine(), 62)
PROJECT = '[build-system]\nrequires = ["setuptools"]\n\n[project]\nname = "pkg"\n'
AMBIGUOUS = {"one.py": MAIN, "two.py": MAIN, "README.md": ""}


def elf(machine: int = MACHINE, kind: int = 2) -> bytes:
    return b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HH", kind, machine) + b"\0" * 44


CASES = {
    "a Go repository": ({"go.mod": "module x\n", "x.go": ""}, "not_python", "go.mod (Go)", "go.mod:1"),
    "a JavaScript repository with a Python helper": (
        {"package.json": "{}", "a.js": "", "b.ts": "", "scripts/x.py": MAIN},
        "not_python", "package.json", "package.json:1",
    ),
    "an empty folder": ({}, "not_python", "empty", ""),
    "a C project with a Python generator": (
        {"Makefile": "", "a.c": "", "b.c": "", "c.c": "", "d.h": "", "e.c": "", "gen.py": MAIN},
        "not_python", "*.c", "",
    ),
    "nothing that starts": ({"requirements.txt": "x\n", "lib.py": "X = 1\n"}, "no_entrypoint", "nothing", "requirements.txt:1"),
    "notebooks": ({"requirements.txt": "x\n", "a.ipynb": "{}"}, "no_entrypoint", "notebooks", "requirements.txt:1"),
    "a library": ({"pyproject.toml": PROJECT, "pkg/__init__.py": "X = 1\n"}, "library", "`pkg` is a library", "pyproject.toml:4"),
    "a library with a guarded helper": (
        {"pyproject.toml": PROJECT, "pkg/__init__.py": "", "pkg/parse.py": MAIN},
        "library", "`pkg` is a library", "pyproject.toml:4",
    ),
    "several projects": (
        {"a/pyproject.toml": PROJECT, "a/main.py": MAIN, "b/requirements.txt": "", "b/main.py": MAIN},
        "monorepo", "a and b", "a/pyproject.toml:1",
    ),
    "one project that is not at the root": (
        {"backend/requirements.txt": "", "backend/main.py": MAIN, "frontend/package.json": "{}", "frontend/a.js": ""},
        "monorepo", "`backend`", "backend/requirements.txt:1",
    ),
    "two files of equal rank": (AMBIGUOUS, "ambiguous", "one.py and two.py", "one.py:4"),
    "two modules that serve": (
        {"requirements.txt": "flask\n",
         "a/one.py": "from flask import Flask\napp = Flask('x')\n", "b/two.py": "from flask import Flask\napp = Flask('x')\n"},
        "ambiguous", "a/one.py and b/two.py", "a/one.py:1",
    ),
    "another Python": (
        {"pyproject.toml": PROJECT + 'requires-python = ">=3.13"\n', "main.py": MAIN},
        "needs_python", "asks for Python >=3.13", "pyproject.toml:6",
    ),
    "an exact other Python": (
        {"pyproject.toml": PROJECT + 'requires-python = "==3.14.*"\n', "main.py": MAIN},
        "needs_python", "==3.14.*", "pyproject.toml:6",
    ),
    "an upper bound below": (
        {"setup.py": "from setuptools import setup\nsetup(name='x', python_requires='>=3.6, <3.11')\n", "main.py": MAIN},
        "needs_python", "<3.11", "setup.py:2",
    ),
    "poetry's tilde": (
        {"pyproject.toml": '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "~3.9"\n', "main.py": MAIN},
        "needs_python", ">=3.9,<3.10", "pyproject.toml:4",
    ),
    "a framework that needs a newer Python": (
        {"requirements.txt": "requests\nDjango>=6.0,<6.1\n", "main.py": MAIN},
        "needs_python", ">=3.12", "requirements.txt:2",
    ),
    "a start that does not parse": ({"main.py": "x = 1\ndef broken(:\n"}, "does_not_parse", "main.py:2", "main.py:2"),
    "Python 2": ({"main.py": "print 'hi'\n"}, "does_not_parse", "main.py:1", "main.py:1"),
    "a manifest that does not parse": ({"pyproject.toml": "[project\n", "main.py": MAIN}, "does_not_parse", "pyproject.toml:1", "pyproject.toml:1"),
    "a required argument of argparse": (
        {"main.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('file')\np.parse_args()\n"},
        "needs_arguments", "`file`", "main.py:3",
    ),
    "a required option in a called function": (
        {"main.py": "import argparse\ndef parse():\n    p = argparse.ArgumentParser()\n    p.add_argument('--key', required=True)\n"
                    "    return p.parse_args()\ndef main():\n    args = parse()\n\nif __name__ == '__main__':\n    main()\n"},
        "needs_arguments", "--key", "main.py:4",
    ),
    "a bare sys.argv[1]": ({"main.py": "import sys\nprint(sys.argv[1])\n"}, "needs_arguments", "sys.argv[1]", "main.py:2"),
    "a click argument": (
        {"main.py": "import click\n@click.command()\n@click.argument('name')\ndef main(name): ...\n\nif __name__ == '__main__':\n    main()\n"},
        "needs_arguments", "`name`", "main.py:3",
    ),
    "a typer parameter": (
        {"main.py": "import typer\ndef main(name: str): ...\n\nif __name__ == '__main__':\n    typer.run(main)\n"},
        "needs_arguments", "`name`", "main.py:2",
    ),
    "a console script with a positional": (
        {"pyproject.toml": PROJECT + '[project.scripts]\ntool = "pkg:main"\n',
         "pkg/__init__.py": "import argparse\ndef main():\n    p = argparse.ArgumentParser()\n    p.add_argument('url')\n    a = p.parse_args()\n"},
        "needs_arguments", "`url`", "pkg/__init__.py:4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused_with_the_code_the_place_and_a_hint(name: str, refused) -> None:
    files, code, text, evidence = CASES[name]
    error = refused(files)
    assert error.code == code
    assert text in error.message
    assert error.evidence == evidence
    assert error.hint
    assert set(error.report()) >= {"code", "message", "hint"}


def test_a_monorepo_names_its_folders_and_the_key_to_choose_one(refused) -> None:
    error = refused(CASES["several projects"][0])
    assert error.candidates == ("a", "b")
    assert "path: a" in error.hint


def test_an_ambiguous_tree_names_its_candidates(refused) -> None:
    error = refused(AMBIGUOUS)
    assert error.candidates == ("one.py", "two.py")
    assert "entrypoint: one.py" in error.hint


def test_python_2_is_called_so(refused) -> None:
    assert "Python 2" in refused(CASES["Python 2"][0]).hint


def test_newer_syntax_asks_for_a_newer_python(refused) -> None:
    assert "3.12" in refused({"main.py": "type X = int\n"}).hint


NO_NEED = {
    "given arguments": ("import sys\nprint(sys.argv[1])\n", ["x"]),
    "an optional positional": ("import argparse\np = argparse.ArgumentParser()\np.add_argument('f', nargs='?')\np.parse_args()\n", []),
    "a counted sys.argv": ("import sys\nif len(sys.argv) > 1:\n    pass\nprint(sys.argv[1])\n", []),
    "a positional of a subcommand": (
        "import argparse\np = argparse.ArgumentParser()\ns = p.add_subparsers()\nq = s.add_parser('x')\nq.add_argument('f')\np.parse_args()\n", []),
    "an argument list in the code": ("import argparse\np = argparse.ArgumentParser()\np.add_argument('f')\np.parse_args(['x'])\n", []),
    "a prompt": ("import click\n@click.command()\n@click.option('--n', prompt=True, required=True)\ndef main(n): ...\nmain()\n", []),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_NEED)
def test_a_doubtful_need_of_arguments_is_no_refusal(name: str, ask) -> None:
    source, args = NO_NEED[name]
    assert ask({"main.py": source}, args=args).rule == "root-main"


def test_a_matching_python_among_several_is_enough(plant) -> None:
    root = plant(CASES["another Python"][0])
    assert detect(root, python_available=["3.11", "3.13"]).python == ">=3.13"


def test_the_patch_release_of_the_base_image_counts_when_it_is_known(plant) -> None:
    root = plant({"pyproject.toml": PROJECT + 'requires-python = ">=3.11.4"\n', "main.py": MAIN})
    assert detect(root, python_available=["3.11"])
    with pytest.raises(Exception, match=r"3\.11\.4"):
        detect(root, python_available=["3.11.2"])


BINARIES = {
    "an ELF program": elf(),
    "a position independent ELF program": elf(kind=3),
    "a shell script": b"#!/bin/sh\necho hi\n",
    "a script by env": b"#!/usr/bin/env -S python3 -u\nprint(1)\n",
}


@pytest.mark.parametrize("name", BINARIES)
def test_a_repository_that_is_not_python_runs_its_main(name: str, ask) -> None:
    found = ask({"main!": BINARIES[name], "x.go": ""})
    assert (found.argv, found.launch, found.rule) == (("/app/main",), "binary", "not-python")


BROKEN = {
    "main": (elf(), "executable bit"),
    "main!": (elf(machine=8), "is a program for"),
    "main!!": (b"MZ\x90", "Windows"),
    "main!!!": (b"hello\n", "neither"),
    "main!!!!": (b"#!/usr/bin/env node\n", "node"),
    "main!!!!!": (elf() + b"/lib/ld-musl-x86_64.so.1", "musl"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_main_that_could_not_run_is_refused_with_the_reason(name: str, refused) -> None:
    body, text = BROKEN[name]
    error = refused({"main" + ("!" if "!" in name else ""): body, "x.go": ""})
    assert error.code == "not_python"
    assert text in error.message


def test_declared_python_beats_other_languages(ask) -> None:
    found = ask(
        {"pyproject.toml": '[project]\nname = "x"\n', "go.mod": "module x", "a.go": "", "b.go": "", "main.py": MAIN}
    )
    assert found.rule == "root-main"


def test_a_broken_manifest_beside_another_one_is_passed_over(ask) -> None:
    assert ask({"pyproject.toml": "[tool.x\n", "requirements.txt": "flask\n", "main.py": MAIN}).rule == "root-main"


def test_two_python_files_in_another_language_s_project_are_no_project(refused) -> None:
    files = {
        "package.json": "{}",
        "a.ts": "",
        "b.ts": "",
        "c.ts": "",
        "fn/requirements.txt": "",
        "fn/index.py": MAIN,
        "fn/more.py": "",
    }
    assert refused(files).code == "not_python"


def test_a_package_for_python_2_is_still_a_library(refused) -> None:
    assert refused({"setup.py": "print 'x'\nsetup(name='x')\n", "x/__init__.py": ""}).code == "library"
