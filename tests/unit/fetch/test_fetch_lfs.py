"""Git LFS: contents are filled in, checked, and said to be missing when they cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from karst import lockfile
from karst.errors import KarstError
from karst.fetch import Fetched, fetch_all
from karst.manifest import parse_list
from tests.support.githost import GitHost

MODEL = b"weights " * 1000
RULES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


def fetch(slug: str = "gh:acme/app", lock: Path | None = None) -> Fetched:
    return fetch_all(parse_list([slug], Path("/")), Path("/"), lock)["app"]


@pytest.mark.parametrize("archive", ["ok", "none"])
def test_contents_take_the_place_of_their_pointers(githost: GitHost, archive: str) -> None:
    pointer = githost.lfs("gh:acme/app", MODEL)
    files = {".gitattributes": RULES, "m.bin": pointer, "a/copy.bin": ("x", pointer), "main.py": "1"}
    githost.create("gh:acme/app", files, archive=archive)
    one = fetch()
    assert one.missing == ()
    assert (one.source / "m.bin").read_bytes() == (one.source / "a/copy.bin").read_bytes() == MODEL
    assert (one.source / "a/copy.bin").stat().st_mode & 0o111
    assert len([path for path in githost.paths() if path.startswith("/_lfs/")]) == 1


def test_the_token_opens_the_batch_and_goes_no_further(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = githost.lfs("gh:acme/app", MODEL)
    githost.create("gh:acme/app", {".gitattributes": RULES, "m.bin": pointer}, token="t0ken")
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
    assert (fetch().source / "m.bin").read_bytes() == MODEL
    assert not any(request.authorization for request in githost.log if request.path.startswith("/_lfs/"))


def test_a_file_that_only_looks_like_a_pointer_stays_without_lfs(githost: GitHost) -> None:
    pointer = githost.lfs("gh:acme/app", MODEL)
    githost.create("gh:acme/app", {"m.bin": pointer})
    assert (fetch().source / "m.bin").read_text() == pointer
    assert not any("lfs" in path for path in githost.paths())


def test_wrong_contents_are_refused_and_the_pointer_stays(githost: GitHost) -> None:
    pointer = githost.lfs("gh:acme/app", MODEL, stored=b"evil")
    githost.create("gh:acme/app", {".gitattributes": RULES, "m.bin": pointer})
    one = fetch()
    assert one.missing == ("the contents of 1 Git LFS file (m.bin): what came is not what the commit names",)
    assert (one.source / "m.bin").read_text() == pointer


def test_contents_that_the_host_lacks_are_named_and_asked_for_again(githost: GitHost, tmp_path: Path) -> None:
    absent = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n"
    githost.create("gh:acme/app", {".gitattributes": RULES, "a.bin": absent, "b.bin": absent.replace("a" * 9, "b" * 9)})
    lock = tmp_path / "x.lock.yaml"
    one = fetch(lock=lock)
    assert one.missing == ("the contents of 2 Git LFS files (a.bin, …): the host does not have it (404)",)
    assert lockfile.read(lock)["app"].partial
    before = len(githost.log)
    assert fetch(lock=lock) == one, "a lock and a warm cache need no network, complete or not"
    assert len(githost.log) == before
    fetch()
    assert any("/info/lfs/" in path for path in githost.paths()[before:])


def test_a_lock_made_of_a_partial_tree_accepts_the_whole_one(
    githost: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "x.lock.yaml"
    pointer = githost.lfs("gh:acme/app", MODEL)
    stored = githost.root / "lfs/gh/acme/app"
    stored.rename(stored.with_name("away"))
    githost.create("gh:acme/app", {".gitattributes": RULES, "m.bin": pointer})
    partial = fetch(lock=lock)
    stored.with_name("away").rename(stored)
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "colleague"))
    whole = fetch(lock=lock)
    assert whole.revision == partial.revision
    assert (whole.source / "m.bin").read_bytes() == MODEL
    assert not lockfile.read(lock)["app"].partial
    stored.rename(stored.with_name("away"))
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "third"))
    with pytest.raises(KarstError) as caught:
        fetch(lock=lock)
    assert caught.value.code == "incomplete"
    assert "m.bin" in caught.value.message


def test_more_than_the_limit_is_not_downloaded(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_FETCH_MAX_MB", "1")
    pointer = githost.lfs("gh:acme/app", os.urandom(2 << 20))
    githost.create("gh:acme/app", {".gitattributes": RULES, "m.bin": pointer})
    (lacking,) = fetch().missing
    assert "KARST_FETCH_MAX_MB allows 1" in lacking
    assert not any(path.startswith("/_lfs/") for path in githost.paths())
