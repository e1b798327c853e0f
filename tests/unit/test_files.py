"""Atomic writes, locks, and the hash of a tree."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from karst.errors import BusyError, KarstError
from karst.files import disk_errors, locked, tree_hash, write_atomic


def _tree(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def test_the_hash_does_not_depend_on_the_order_of_creation_or_on_times(tmp_path: Path) -> None:
    """Two trees with the same content made in different order hash alike."""
    names = ["b/c.py", "a.py", "b/a.py", "z"]
    first = _tree(tmp_path / "one", names)
    second = _tree(tmp_path / "two", names[::-1])
    os.utime(second / "a.py", (1, 1))
    assert tree_hash(first) == tree_hash(second)


@pytest.mark.parametrize("change", ["content", "name", "executable", "link", "empty file"])
def test_whatever_matters_changes_the_hash(change: str, tmp_path: Path) -> None:
    """Content, names, the executable bit, links and new files count."""
    root = _tree(tmp_path, ["a.py", "b/c.py"])
    before = tree_hash(root)
    match change:
        case "content":
            (root / "a.py").write_text("other")
        case "name":
            (root / "a.py").rename(root / "aa.py")
        case "executable":
            (root / "a.py").chmod(0o755)
        case "link":
            (root / "l").symlink_to("a.py")
        case "empty file":
            (root / "b/__init__.py").touch()
    assert tree_hash(root) != before


def test_a_file_cannot_pass_for_two(tmp_path: Path) -> None:
    """Lengths are hashed with the parts: moving a boundary between name and content changes the hash."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "ab").write_text("c")
    (tmp_path / "two" / "a").write_text("bc")
    assert tree_hash(tmp_path / "one") != tree_hash(tmp_path / "two")


def test_a_link_to_a_folder_is_hashed_as_a_link(tmp_path: Path) -> None:
    """A linked folder's content is counted once, where it is."""
    root = _tree(tmp_path, ["d/x"])
    before = tree_hash(root)
    (root / "link").symlink_to("d")
    with_link = tree_hash(root)
    assert with_link != before
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    assert tree_hash(root) != with_link


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename is the switch. The full disk is a mock here: fsync is made to fail."""
    path = tmp_path / "f"
    write_atomic(path, "old", mode=0o600)

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KarstError, match="no space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_a_lock_is_refused_while_held_and_free_afterwards(tmp_path: Path) -> None:
    """flock belongs to the open file, so a second opening in the same process is refused too."""
    path = tmp_path / "lock"
    with locked(path), pytest.raises(BusyError, match="somebody"), locked(path, wait=0, busy="somebody holds it"):
        pass
    with locked(path, wait=0):
        pass


def test_other_errors_of_the_disk_pass_through(tmp_path: Path) -> None:
    """Only what a person can act on is turned into a sentence."""
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "none" / "x").read_text()
