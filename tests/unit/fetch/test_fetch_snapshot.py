"""``dir:`` slugs: what of a folder counts, and that a build sees one state of it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from karst.errors import KarstError
from karst.fetch import Fetched, fetch_all, snapshot
from karst.files import tree_hash
from karst.manifest import parse_list


def fetch(folder: Path, slug: str = "dir:app") -> Fetched:
    (one,) = fetch_all(parse_list([{"slug": slug, "name": "app"}], folder), folder).values()
    return one


def names(one: Fetched) -> set[str]:
    return {p.relative_to(one.source).as_posix() for p in one.source.rglob("*") if p.is_symlink() or p.is_file()}


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def git(folder: Path, *arguments: str) -> None:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    write(folder, "main.py", "pkg/mod.py")
    return folder


def test_a_folder_is_copied_and_named_after_its_content(tmp_path: Path, app: Path, cache: Path) -> None:
    one = fetch(tmp_path)
    assert names(one) == {"main.py", "pkg/mod.py"}
    assert one.source.is_relative_to(cache)
    assert one.tree == tree_hash(app) == tree_hash(one.source)
    assert one.revision == f"dir-{one.tree[:12]}"
    assert (one.ref, one.repository_url) == ("", "")


def test_a_change_makes_another_copy_and_leaves_the_first_as_it_was(tmp_path: Path, app: Path) -> None:
    first = fetch(tmp_path)
    (app / "main.py").write_text("changed")
    second = fetch(tmp_path)
    assert second.revision != first.revision
    assert (first.source / "main.py").read_text() == "main.py"
    (app / "main.py").write_text("main.py")
    assert fetch(tmp_path) == first


def test_times_and_write_bits_do_not_count_but_the_executable_bit_does(tmp_path: Path, app: Path) -> None:
    first = fetch(tmp_path)
    os.utime(app / "main.py", (1, 1))
    (app / "main.py").chmod(0o600)
    assert fetch(tmp_path) == first
    (app / "main.py").chmod(0o700)
    second = fetch(tmp_path)
    assert second.tree != first.tree
    assert (second.source / "main.py").stat().st_mode & 0o777 == 0o755


def test_without_git_environments_caches_and_secrets_stay_behind(tmp_path: Path, app: Path) -> None:
    write(app, ".venv/lib/x.py", "node_modules/a/x.js", "pkg/__pycache__/mod.pyc", ".env", ".git/config")
    write(app, "venv/pyvenv.cfg", "venv/lib/x.py", "env/settings.py", ".env.example", ".mypy_cache/x")
    assert names(fetch(tmp_path)) == {"main.py", "pkg/mod.py", "env/settings.py", ".env.example"}


def test_in_a_work_tree_git_decides_what_counts(tmp_path: Path, app: Path) -> None:
    write(app, ".gitignore", "build/x", "new.py", "old.py", ".env", "kept/.env")
    (app / ".gitignore").write_text("build/\n.env\n")
    git(app, "init", "-q")
    git(app, "add", "-A")
    git(app, "add", "-f", "kept/.env")
    git(app, "commit", "-q", "-m", "x")
    (app / "old.py").unlink()
    write(app, "later.py")
    assert names(fetch(tmp_path)) == {".gitignore", "main.py", "pkg/mod.py", "new.py", "later.py", "kept/.env"}


def test_a_subfolder_of_a_work_tree_is_taken_alone(tmp_path: Path, app: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "outside.py", "app/.gitignore", "app/skip.log")
    (app / ".gitignore").write_text("*.log\n")
    assert names(fetch(tmp_path)) == {".gitignore", "main.py", "pkg/mod.py"}


def test_a_folder_that_its_repository_ignores_is_taken_whole(tmp_path: Path, app: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("/app/\n")
    assert names(fetch(tmp_path)) == {"main.py", "pkg/mod.py"}


def test_a_repository_inside_the_repository_is_taken_along(tmp_path: Path, app: Path) -> None:
    git(app, "init", "-q")
    write(app, "inner/x.py", "inner/skip.log", "inner/.gitignore")
    (app / "inner/.gitignore").write_text("*.log\n")
    git(app / "inner", "init", "-q")
    assert names(fetch(tmp_path)) == {"main.py", "pkg/mod.py", "inner/x.py", "inner/.gitignore"}


def test_a_repositorys_settings_start_no_program(tmp_path: Path, app: Path) -> None:
    git(app, "init", "-q")
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    script.chmod(0o755)
    git(app, "config", "core.fsmonitor", str(script))
    git(app, "config", "core.hooksPath", str(tmp_path))
    fetch(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_links_inside_are_kept_and_links_outside_refused(tmp_path: Path, app: Path) -> None:
    (app / "link").symlink_to("pkg/mod.py")
    (app / "folder").symlink_to("pkg")
    one = fetch(tmp_path)
    assert (one.source / "link").readlink() == Path("pkg/mod.py")
    assert (one.source / "folder").readlink() == Path("pkg")
    for target in ("../outside", "/etc/passwd", str(app / "main.py")):
        (app / "bad").symlink_to(target)
        with pytest.raises(KarstError) as caught:
            fetch(tmp_path)
        assert caught.value.code == "unsafe_archive"
        assert "`bad`" in caught.value.message
        (app / "bad").unlink()


def test_a_socket_or_pipe_is_named(tmp_path: Path, app: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(app / "s"))
        with pytest.raises(KarstError, match="no file, folder or link"):
            fetch(tmp_path)


def test_names_that_are_not_utf8_are_kept(tmp_path: Path, app: Path) -> None:
    (app / os.fsdecode(b"caf\xe9")).write_text("x")
    one = fetch(tmp_path)
    assert os.fsencode(next(p for p in one.source.iterdir() if p.name.startswith("caf"))).endswith(b"caf\xe9")


@pytest.mark.parametrize(
    ("slug", "code"), [("dir:absent", "no_folder"), ("dir:app/main.py", "no_folder"), ("dir:empty", "no_files")]
)
def test_what_is_no_folder_with_files_is_one_sentence(tmp_path: Path, app: Path, slug: str, code: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(KarstError) as caught:
        fetch(tmp_path, slug)
    assert caught.value.code == code
    assert slug in caught.value.message


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, app: Path) -> None:
    (app / "main.py").chmod(0)
    with pytest.raises(KarstError, match=r"main\.py"):
        fetch(tmp_path)


def test_the_limits_hold_for_folders_as_well(tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_FETCH_MAX_FILES", "1")
    with pytest.raises(KarstError) as caught:
        fetch(tmp_path)
    assert caught.value.code == "too_large"
    assert "KARST_FETCH_MAX_FILES" in caught.value.hint


def test_a_path_narrows_a_folder_too(tmp_path: Path, app: Path) -> None:
    (one,) = fetch_all(parse_list([{"slug": "dir:app", "path": "pkg"}], tmp_path), tmp_path).values()
    assert (one.service.name, names(one)) == ("pkg", {"mod.py"})


def test_copies_that_nobody_used_for_a_week_go_away(tmp_path: Path, app: Path, cache: Path) -> None:
    old, used = fetch(tmp_path), None
    for text in ("second", "third"):
        (app / "main.py").write_text(text)
        used = fetch(tmp_path)
        for meta in (cache / "src/dir").rglob("*.json"):
            os.utime(meta, (1, 1))
        assert fetch(tmp_path) == used  # which makes it used just now
    assert not old.source.exists()
    assert used is not None
    assert used.source.exists()


def test_a_file_that_goes_away_meanwhile_is_no_failure(
    tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = snapshot._listed
    write(app, "going.py")

    def vanishing(folder: Path) -> list[str]:
        names = list(listed(folder))
        (app / "going.py").unlink(missing_ok=True)
        return names

    monkeypatch.setattr(snapshot, "_listed", vanishing)
    assert names(fetch(tmp_path)) == {"main.py", "pkg/mod.py"}


def test_copies_made_at_once_are_one_copy(tmp_path: Path, app: Path) -> None:
    write(app, *(f"f{number}" for number in range(200)))
    results: list[Fetched] = []
    threads = [threading.Thread(target=lambda: results.append(fetch(tmp_path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert all(result == results[0] for result in results)
    assert len(names(results[0])) == 202


def test_a_home_folder_is_found(tmp_path: Path, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names(fetch(Path("/"), "dir:~/app")) == {"main.py", "pkg/mod.py"}
