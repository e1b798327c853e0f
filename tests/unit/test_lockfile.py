"""The lock file: one fixed form, written only when something changed, and merged by whoever comes second."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karst import lockfile
from karst.errors import KarstError, UsageError
from karst.lockfile import Locked, lock_path, read, render, save

SHA = "0123456789abcdef0123456789abcdef01234567"
TREE = "ab" * 32
ENTRY = Locked("gh:o/app#v1", "refs/tags/v1", SHA, TREE)
OTHER = Locked("gl:g/s/two", "refs/heads/main", "1" * 40, "0" * 64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("repos.yaml", "repos.lock.yaml"),
        ("repos.yml", "repos.lock.yaml"),
        ("x.json", "x.lock.yaml"),
        ("my.stack.yaml", "my.stack.lock.yaml"),
        ("prod.tfvars", "prod.lock.yaml"),
        ("prod.tfvars.json", "prod.lock.yaml"),
        ("list", "list.lock.yaml"),
    ],
)
def test_the_lock_file_lies_beside_its_list(name: str, lock: str) -> None:
    assert lock_path(Path("/a") / name) == Path("/a") / lock


def test_what_is_saved_is_read_again_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "repos.lock.yaml"
    assert save(path, {"app": ENTRY, "two": OTHER})
    first = path.read_bytes()
    assert read(path) == {"app": ENTRY, "two": OTHER}
    path.unlink()
    assert save(path, {"two": OTHER, "app": ENTRY})
    assert path.read_bytes() == first
    assert b"Made to be committed" in first


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "repos.lock.yaml"
    save(path, {"app": ENTRY})
    before = path.stat()
    assert not save(path, {"app": ENTRY}, keep={"app"})
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_no_file_appears_for_a_list_of_local_folders(tmp_path: Path) -> None:
    assert not save(tmp_path / "repos.lock.yaml", {}, keep=set())
    assert not (tmp_path / "repos.lock.yaml").exists()


def test_entries_of_services_that_left_the_list_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "repos.lock.yaml"
    save(path, {"app": ENTRY, "two": OTHER})
    assert save(path, {"two": OTHER}, keep={"two"})
    assert read(path) == {"two": OTHER}
    assert save(path, {}, keep=set())
    assert read(path) == {}


def test_without_a_list_nothing_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "repos.lock.yaml"
    save(path, {"app": ENTRY})
    save(path, {"two": OTHER}, keep=None)
    assert read(path) == {"app": ENTRY, "two": OTHER}


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "repos.lock.yaml"
    threads = [threading.Thread(target=save, args=(path, {f"s{n}": ENTRY})) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(path)) == 12


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "repos.lock.yaml"
    save(path, {"app": ENTRY})
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(KarstError) as caught:
        save(path, {"two": OTHER})
    assert caught.value.code == "disk_full"
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "cache"] == [path.name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KarstError("cannot write x: Permission denied", code="not_writable")

    monkeypatch.setattr(lockfile, "write_atomic", refuse)
    with pytest.raises(KarstError) as caught:
        save(tmp_path / "repos.lock.yaml", {"app": ENTRY})
    assert "without a lock" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "- a\n",
        "services: {}\n",
        "version: 2\nservices: {}\n",
        "version: 1\nservices: []\n",
        "version: 1\nservices:\n  app: {}\n",
        "version: 1\nservices:\n  app: gh:o/app\n",
        f'version: 1\nservices:\n  app: {{slug: "gh:o/app", ref: main, revision: "{SHA[:7]}", tree: "{TREE}"}}\n',
        f'version: 1\nservices:\n  app: {{slug: "gh:o/app", ref: main, revision: "../../etc", tree: "{TREE}"}}\n',
        f'version: 1\nservices:\n  app: {{slug: "gh:o/app", ref: main, revision: "{SHA}", tree: "abc"}}\n',
        "version: 1\nservices: {\n",
        "<<<<<<< HEAD\n",
    ],
)
def test_a_damaged_lock_file_is_one_sentence_that_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    path = tmp_path / "repos.lock.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert caught.value.code == "bad_lock"
    assert "repos.lock.yaml" in caught.value.message
    assert "delete it" in caught.value.hint


def test_an_absent_or_empty_file_locks_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "absent.lock.yaml") == {}
    (tmp_path / "empty.lock.yaml").write_text("# only a comment\n")
    assert read(tmp_path / "empty.lock.yaml") == {}


HEX = st.text("0123456789abcdef", min_size=40, max_size=40)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True),
        st.builds(
            Locked, st.just("gh:o/r#1e5"), st.sampled_from(["refs/heads/on", "refs/tags/1.0", "no"]), HEX, st.just(TREE)
        ),
        max_size=4,
    )
)
@settings(deadline=None, max_examples=100)
def test_any_entries_survive_the_file(tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Locked]) -> None:
    path = tmp_path_factory.mktemp("lock") / "x.lock.yaml"
    path.write_text(render(entries))
    assert read(path) == entries
