"""requirements*.txt: which one, and what becomes of every kind of line."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst.deps.requirements_txt import find, logical_lines, read
from karst.deps.tree import Tree


def tree(folder: Path, **files: str) -> Tree:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(folder)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["requirements.txt", "requirements-dev.txt"], "requirements.txt"),
        (["requirements/prod.txt", "requirements/base.txt", "requirements/dev.txt"], "requirements/prod.txt"),
        (["requirements/base.txt", "requirements/test.txt"], "requirements/base.txt"),
        (["requirements-dev.txt", "requirements-docs.txt"], ""),
        (["requirements_server.txt"], "requirements_server.txt"),
        (["requirements_a.txt", "requirements_b.txt"], ""),
        (["requirements.in"], "requirements.in"),
        (["requirements.lock", "requirements.txt"], "requirements.lock"),
        ([], ""),
    ],
)
def test_the_file_for_running_is_chosen_and_never_one_for_development(
    tmp_path: Path, names: list[str], chosen: str
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    assert find(Tree(tmp_path)) == chosen


def test_the_file_beside_the_entry_comes_first(tmp_path: Path) -> None:
    found = tree(tmp_path, requirements_txt="a\n", api__requirements_txt="b\n")
    assert find(found, "api") == "api/requirements.txt"
    assert find(found, "web") == "requirements.txt"


def test_included_files_are_written_into_one_and_constraints_into_another(tmp_path: Path) -> None:
    source = tree(
        tmp_path,
        requirements_txt="-r reqs/base.txt\n-c reqs/pins.txt\nflask\n",
        reqs__base_txt="click  # comment\n-r more.txt\n",
        reqs__more_txt="rich\n",
        reqs__pins_txt="click==8.1\n",
    )
    found = read(source, "requirements.txt")
    assert found.lines == ["click", "rich", "flask"]
    assert found.constraints == ["click==8.1"]


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    source = tree(tmp_path, requirements_txt="a\n-r b.txt\n", b_txt="b\n-r requirements.txt\n")
    assert read(source, "requirements.txt").lines == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("-e .", "."),
        ("-e .[web]", ".[web]"),
        (".", "."),
        ("--editable=./libs/x", "libs/x"),
        ("./libs/x", "libs/x"),
        ("libs/x", "libs/x"),
        ("-e file:.", "."),
        ("wheels/a-1-py3-none-any.whl", "wheels/a-1-py3-none-any.whl"),
    ],
)
def test_what_points_into_the_repository_waits_for_the_source(tmp_path: Path, line: str, local: str) -> None:
    (tmp_path / "libs/x").mkdir(parents=True)
    source = tree(tmp_path, requirements_txt=f"{line}\n", **{"wheels__a-1-py3-none-any.whl": ""})
    found = read(source, "requirements.txt")
    assert found.local == [local]
    assert found.lines == []


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("flask==3.0 ; python_version < '4' # why", "flask==3.0 ; python_version < '4'"),
        ("-e git+https://h/o/x.git@v1#egg=x", "x @ git+https://h/o/x.git@v1"),
        ("git+git://h/o/x#egg=x&subdirectory=py", "x @ git+https://h/o/x#subdirectory=py"),
        ("git+https://h/o/x", "git+https://h/o/x"),
        ("x @ https://h/x-1.zip", "x @ https://h/x-1.zip"),
        ("certifi @ file:///croot/certifi_1/work", "certifi"),
        ("a==1 --hash=sha256:aa --hash=sha256:bb", "a==1 --hash=sha256:aa --hash=sha256:bb"),
        ("a==1 --global-option=build", "a==1"),
        ("a[b,c]>=1,<2", "a[b,c]>=1,<2"),
        ("a==1#egg", "a==1#egg"),
    ],
)
def test_a_requirement_is_kept_in_the_form_that_uv_takes(tmp_path: Path, line: str, kept: str) -> None:
    assert read(tree(tmp_path, requirements_txt=line + "\n"), "requirements.txt").lines == [kept]


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("-i https://h/simple", "--index-url https://h/simple"),
        ("--extra-index-url=https://h/simple", "--extra-index-url https://h/simple"),
        ("-fhttps://h/links", "--find-links https://h/links"),
        ("--no-binary :all:", "--no-binary :all:"),
        ("--no-index", "--no-index"),
    ],
)
def test_index_options_stay(tmp_path: Path, line: str, option: str) -> None:
    assert read(tree(tmp_path, requirements_txt=line + "\n"), "requirements.txt").options == [option]


def test_options_without_a_meaning_are_named_and_left_out(tmp_path: Path) -> None:
    found = read(tree(tmp_path, requirements_txt="--use-feature=x\n--pre\na\n"), "requirements.txt")
    assert found.prerelease
    assert found.lines == ["a"]
    assert "--use-feature" in found.notes[0]


def test_a_link_out_of_the_repository_reads_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("password\n")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/requirements.txt").symlink_to(secret)
    (tmp_path / "repo/real.txt").write_text("-r ../secret.txt\na\n")
    source = Tree(tmp_path / "repo")
    assert find(source) == ""
    assert read(source, "real.txt").lines == ["a"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "requirements.txt").write_bytes("flask  # für alle\r\nclick\r\n".encode(encoding))
    assert read(Tree(tmp_path), "requirements.txt").lines == ["flask", "click"]


def test_continued_lines_are_one() -> None:
    assert logical_lines("a==1 \\\n    --hash=sha256:aa\n# c\n\nb") == ["a==1 --hash=sha256:aa", "b"]
