"""Nothing of a repository is run, nothing in it can crash or stall the detector, and the answer is always the same."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karst.detect import DetectError, Detection, detect, explain
from karst.detect.errors import CODES
from karst.detect.tree import decode

from .conftest import write_tree

MAIN = "def main():\n    pass\n\nif __name__ == '__main__':\n    main()\n"


def outcome(root: Path) -> dict[str, object]:
    """The answer or the refusal, as plain data."""
    try:
        return detect(root).to_dict()
    except DetectError as err:
        return err.report()


def test_no_code_of_the_repository_is_imported_or_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    trap = f"import pathlib\npathlib.Path({str(canary)!r}).write_text('ran')\n"
    names = ["setup.py", "main.py", "app.py", "conftest.py", "sitecustomize.py", "pkg/__init__.py", "pkg/__main__.py",
             "manage.py", "tomllib.py", "ast.py", "noxfile.py", "gunicorn.conf.py"]  # fmt: skip
    files = dict.fromkeys(names, trap + "from setuptools import setup\nsetup(name='pkg')\n")
    files["pyproject.toml"] = (
        '[build-system]\nrequires=["x"]\nbuild-backend="evil"\nbackend-path=["."]\n[project]\nname="pkg"\n'
    )
    root = write_tree(tmp_path / "repo", files)
    before, path = set(sys.modules), list(sys.path)
    os.chdir(root)
    try:
        assert outcome(root)
        explain(root)
    finally:
        os.chdir(tmp_path)
    assert not canary.exists()
    assert sys.path == path
    assert not any(
        getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - before if name == "pkg"
    )
    assert not list(root.rglob("__pycache__"))


TREES = {
    "packages": {f"{name}/__main__.py": MAIN for name in ("zeta", "alpha", "mid")} | {"requirements.txt": ""},
    "ambiguous": {f"{name}.py": MAIN for name in ("c", "a", "b", "d")},
    "monorepo": {f"{name}/requirements.txt": "" for name in "cab"} | {f"{name}/x.py": MAIN for name in "cab"},
    "applications": {
        f"{name}/main.py": "from flask import Flask\napp = Flask('x')\n" for name in ("src", "app", "api")
    },
}


@pytest.mark.parametrize("name", TREES)
def test_the_answer_does_not_depend_on_the_order_of_files_on_disk(name: str, tmp_path: Path, monkeypatch) -> None:
    answers = [outcome(write_tree(tmp_path / str(seed), TREES[name], seed=seed)) for seed in range(6)]
    real = os.scandir

    class Shuffled:
        def __init__(self, path: str) -> None:
            self.entries = list(real(path))
            random.Random(str(path)).shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    answers.append(outcome(tmp_path / "0"))
    assert all(answer == answers[0] for answer in answers)


SOURCES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="()[]{}:=.,'\"\\\n\t $&;|<>#@!-abcdefimnoprstw_01", max_size=200).map(str.encode),
    st.sampled_from(
        [MAIN, "[project]\nname = 'x'\n", "web: a && b", "FROM x\nLABEL ENTRYPOINT=", "from . import *\n"]
    ).map(str.encode),
    st.text(max_size=60).map(lambda text: ("\ufeff" + text).encode("utf-16", "replace")),
)
NAMES = st.sampled_from([
    "main.py", "app.py", "setup.py", "setup.cfg", "pyproject.toml", "Procfile", "Dockerfile", "requirements.txt",
    "Pipfile",
    "pkg/__main__.py", "pkg/__init__.py", "src/x/__main__.py", "manage.py", "main", "environment.yml", "app/main.py",
    "deep/er/x.py", "go.mod",
])  # fmt: skip


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(files=st.dictionaries(NAMES, SOURCES, max_size=6), seed=st.integers(0, 1 << 30))
def test_any_bytes_in_any_file_give_an_answer_or_a_refusal(
    files: dict[str, bytes], seed: int, tmp_path_factory
) -> None:
    root = write_tree(tmp_path_factory.mktemp("fuzz"), files)
    answer = outcome(root)
    if "argv" in answer:
        assert answer["argv"]
        assert Detection.from_dict(answer).to_dict() == answer
    else:
        assert answer["code"] in CODES
        assert answer["message"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
def test_decoding_never_raises(raw: bytes) -> None:
    assert decode(raw) is None or isinstance(decode(raw), str)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_files_of_windows_editors_are_read(codec: str, tmp_path: Path) -> None:
    toml = '[build-system]\nrequires = []\n[project]\nname = "pkg"\n[project.scripts]\nrun = "pkg:main"\n'
    files = {"pyproject.toml": toml.encode(codec), "pkg/__init__.py": MAIN.encode()}
    assert detect(write_tree(tmp_path / "r", files)).argv == ("run",)


NASTY = {
    "deep parentheses": "(" * 50_000,
    "a long sum": "x = " + "+".join(["1"] * 60_000),
    "a long chain of attributes": "x" + ".a" * 30_000 + "\n",
    "deep indentation": "".join(" " * n + "if x:\n" for n in range(150)),
    "a huge number": "x = " + "9" * 200_000,
    "names that double": "\n".join(f"a{n} = a{n + 1} + a{n + 1}" for n in range(60))
    + "\na60 = 'x'\nfrom setuptools import setup\nsetup(name=a0)\n",
    "calls in circles": "\n".join(f"def f{n}():\n    return f{(n + 1) % 40}() or f{(n + 7) % 40}()" for n in range(40))
    + "\nf0()\n",
    "a null byte": "x = 1\0\n",
    "many imports of itself": "from main import app\nfrom app import app\nfrom setup import app\n",
    "spaces before nothing": "x" + " " * 200_000 + "\n",
    "dashes": "[" + "-" * 100_000 + "\n",
}


@pytest.mark.parametrize("name", NASTY)
def test_a_hostile_file_is_answered_in_bounded_time(name: str, tmp_path: Path) -> None:
    names = (
        "main.py",
        "app.py",
        "setup.py",
        "setup.cfg",
        "pyproject.toml",
        "Procfile",
        "Dockerfile",
        "requirements.txt",
        "Pipfile",
    )
    for target in names:
        started = time.monotonic()
        assert outcome(write_tree(tmp_path / target, {target: NASTY[name], "x.py": "X = 1\n"}))
        assert time.monotonic() - started < 5


def test_links_out_of_the_tree_and_special_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(MAIN)
    root = write_tree(tmp_path / "repo", {"lib.py": "X = 1\n", "requirements.txt": ""})
    (root / "main.py").symlink_to(tmp_path / "outside.py")
    (root / "loop").symlink_to(root)
    (root / "self.py").symlink_to("self.py")
    os.mkfifo(root / "app.py")
    assert outcome(root)["code"] == "no_entrypoint"


def test_links_inside_the_tree_are_followed(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "repo", {"code/start.py": MAIN})
    (root / "main.py").symlink_to("code/start.py")
    assert detect(root).argv == ("python", "/app/main.py")


@pytest.mark.slow
def test_a_giant_tree_is_answered_in_bounded_time(tmp_path: Path) -> None:
    body = MAIN + "\n".join(f"def f{n}(x):\n    return x + {n}" for n in range(40)) + "\n"
    files = {f"pkg{n // 100}/mod{n}.py": body for n in range(6000)}
    root = write_tree(tmp_path / "repo", files)
    started = time.monotonic()
    assert outcome(root)["code"] == "ambiguous"
    assert time.monotonic() - started < 30
