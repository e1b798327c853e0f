"""Fetching from real git over real HTTP: every kind of host, the lock file, the cache, submodules, subfolders."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from karst import lockfile
from karst.errors import KarstError, UsageError
from karst.fetch import Fetched, clone, fetch_all, fetch_each, parts, update
from karst.manifest import parse_list
from tests.support.githost import GitHost
from tests.support.gitrepos import File

FILES: dict[str, File] = {
    "main.py": "print('hello')\n",
    "bin/run": ("x", "#!/bin/sh\n"),
    "docs/main": ("l", "../main.py"),
    "services/api/app.py": "x = 1\n",
}


def fetch(*entries: Any, lock: Path | None = None, **options: Any) -> dict[str, Fetched]:
    """Fetch a list as the external does."""
    return fetch_all(parse_list(list(entries), Path("/srv")), Path("/srv"), lock, **options)


def listing(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("slug", ["gh:acme/hello", "gl:acme/team/sub/hello", "bb:acme/hello"])
def test_each_kind_of_host_gives_the_tree_of_the_commit_by_its_archive(githost: GitHost, slug: str) -> None:
    sha = githost.create(slug, FILES, tags=["v1"])
    one = fetch(f"{slug}#v1")["hello"]
    assert (one.ref, one.revision) == ("refs/tags/v1", sha)
    assert one.repository_url == f"{githost.url}/{slug.replace(':', '/')}"
    assert one.commit_time == "2023-11-14T22:13:20+00:00"
    assert one.missing == ()
    assert listing(one.source) == {
        "main.py": "print('hello')\n",
        "bin/run": "#!/bin/sh\n",
        "docs/main": "-> ../main.py",
        "services/api/app.py": "x = 1\n",
    }
    assert (one.source / "bin/run").stat().st_mode & 0o777 == 0o755
    assert not any("git-upload-pack" in path for path in githost.paths())


def test_branches_tags_commits_and_the_default_branch_are_resolved(githost: GitHost) -> None:
    first = githost.create("gh:acme/app", {"v": "1"}, branch="trunk")
    second = githost.commit("gh:acme/app", {"v": "2"}, branch="trunk")
    other = githost.commit("gh:acme/app", {"v": "3"}, branch="feature/x")
    githost.tag("gh:acme/app", "v1", first, annotated=True)
    revisions = {
        ref: fetch({"slug": f"gh:acme/app{ref}", "name": "app"})["app"].revision
        for ref in ("", "#trunk", "#feature/x", "#v1", f"#{first}", "#refs/tags/v1")
    }
    assert revisions == {
        "": second,
        "#trunk": second,
        "#feature/x": other,
        "#v1": first,
        f"#{first}": first,
        "#refs/tags/v1": first,
    }


@pytest.mark.parametrize("how", ["none", "broken", "html", "error", "other"])
def test_a_refused_broken_or_foreign_archive_is_made_up_for_by_a_clone(githost: GitHost, how: str) -> None:
    tree = fetch_tree(githost, "gh:acme/whole", {})
    assert fetch_tree(githost, "gh:acme/odd", {"archive": how}) == tree
    assert any(path == "/gh/acme/odd.git/git-upload-pack" for path in githost.paths())


def fetch_tree(githost: GitHost, slug: str, options: dict[str, Any]) -> str:
    githost.create(slug, FILES, **options)
    return next(iter(fetch(slug).values())).tree


def test_export_attributes_count_the_same_for_archive_and_clone(githost: GitHost) -> None:
    files: dict[str, File] = {
        ".gitattributes": "tests export-ignore\nversion.txt export-subst\n",
        "tests/x": "1",
        "version.txt": "$Format:%H$",
    }
    githost.create("gh:acme/one", files)
    githost.create("gh:acme/two", files, archive="none")
    one, two = fetch("gh:acme/one", "gh:acme/two").values()
    assert one.revision == two.revision
    assert one.tree == two.tree
    assert listing(two.source)["version.txt"] == one.revision


def test_a_branch_of_the_same_name_as_a_tag_loses_and_full_names_decide(githost: GitHost) -> None:
    first = githost.create("gh:acme/app", {"v": "1"})
    second = githost.commit("gh:acme/app", {"v": "2"}, branch="v1")
    githost.tag("gh:acme/app", "v1", first)
    assert fetch("gh:acme/app#v1")["app"].revision == first
    assert fetch("gh:acme/app#heads/v1")["app"].revision == second


@pytest.mark.parametrize("slug", ["gh:acme/secret", "gl:acme/secret", "bb:acme/secret"])
@pytest.mark.parametrize("archive", ["ok", "none"])
def test_a_private_repository_opens_with_its_hosts_token(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch, slug: str, archive: str
) -> None:
    githost.create(slug, FILES, token="t0ken", archive=archive)
    name = {"gh": "GITHUB_TOKEN", "gl": "GITLAB_TOKEN", "bb": "BITBUCKET_TOKEN"}[slug[:2]]
    with pytest.raises(KarstError) as caught:
        fetch(slug)
    assert caught.value.code == "repo_not_found"
    assert f"set {name}" in caught.value.hint
    monkeypatch.setenv(name, "t0ken\n")
    assert (fetch(slug)["secret"].source / "main.py").exists()


def test_a_bitbucket_app_password_is_sent_as_user_and_password(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    githost.create("bb:acme/secret", FILES, token="me:pass")
    monkeypatch.setenv("BITBUCKET_TOKEN", "me:pass")
    assert fetch("bb:acme/secret")


def test_an_expired_token_does_not_lock_out_of_public_code(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    githost.create("gh:acme/public", FILES)
    githost.reject_tokens = True
    monkeypatch.setenv("GITHUB_TOKEN", "expired")
    assert fetch("gh:acme/public")
    githost.create("gh:acme/clone", FILES, archive="none")
    assert fetch("gh:acme/clone")


def test_a_moved_repository_is_followed_by_archive_and_clone(githost: GitHost) -> None:
    sha = githost.create("gh:new/app", FILES)
    githost.create("gh:old/app", {"x": "not this"}, redirect="gh/new/app")
    assert fetch("gh:old/app")["app"].revision == sha


def test_with_a_lock_and_a_warm_cache_nothing_asks_the_network(githost: GitHost, tmp_path: Path) -> None:
    lock = tmp_path / "repos.lock.yaml"
    githost.create("gh:acme/app", FILES)
    githost.create("gl:acme/lib", FILES, archive="none")
    entries = ["gh:acme/app", "gl:acme/lib", {"slug": "gh:acme/app", "path": "services/api"}]
    first = fetch(*entries, lock=lock)
    githost.stop()
    assert fetch(*entries, lock=lock) == first


def test_a_locked_commit_stays_until_it_is_updated(githost: GitHost, tmp_path: Path) -> None:
    lock = tmp_path / "repos.lock.yaml"
    old = githost.create("gh:acme/app", {"v": "1"})
    githost.create("gh:acme/two", {"v": "1"})
    entries = ["gh:acme/app", "gh:acme/two"]
    fetch(*entries, lock=lock)
    new = githost.commit("gh:acme/app", {"v": "2"})
    new_two = githost.commit("gh:acme/two", {"v": "2"})
    assert fetch(*entries, lock=lock)["app"].revision == old

    services = parse_list(entries, tmp_path)
    (change,) = update(services, tmp_path, lock, "app")
    assert (change.name, change.before, change.after) == ("app", old, new)
    assert fetch(*entries, lock=lock)["app"].revision == new
    (change,) = update(services, tmp_path, lock)
    assert (change.name, change.after) == ("two", new_two)
    assert update(services, tmp_path, lock) == []


def test_an_update_of_one_service_does_not_need_the_others(githost: GitHost, tmp_path: Path) -> None:
    """One that cannot be had keeps its entry, and is no reason to stay behind."""
    lock = tmp_path / "repos.lock.yaml"
    githost.create("gh:acme/app", {"v": "1"})
    githost.create("gh:acme/two", {"v": "1"})
    fetch("gh:acme/app", "gh:acme/two", lock=lock)
    new = githost.commit("gh:acme/app", {"v": "2"})
    services = parse_list(["gh:acme/app", "gh:acme/two", "gh:acme/nowhere"], tmp_path)
    two, asked = lockfile.read(lock)["two"], len(githost.log)
    (change,) = update(services, tmp_path, lock, "app")
    assert (change.name, change.after) == ("app", new)
    assert lockfile.read(lock)["two"] == two
    assert not [line for line in githost.log[asked:] if "acme/app" not in str(line)]
    with pytest.raises(KarstError, match="nowhere"):
        update(services, tmp_path, lock)


def test_an_update_of_an_unknown_service_changes_nothing(githost: GitHost, tmp_path: Path) -> None:
    githost.create("gh:acme/app", FILES)
    with pytest.raises(UsageError) as caught:
        update(parse_list(["gh:acme/app"], tmp_path), tmp_path, tmp_path / "x.lock.yaml", "ap")
    assert caught.value.hint == "did you mean `app`?"
    assert not (tmp_path / "x.lock.yaml").exists()


def test_a_changed_slug_voids_its_lock_entry(githost: GitHost, tmp_path: Path) -> None:
    lock = tmp_path / "repos.lock.yaml"
    githost.create("gh:acme/app", {"v": "1"}, tags=["v1"])
    second = githost.commit("gh:acme/app", {"v": "2"})
    fetch("gh:acme/app#v1", lock=lock)
    assert fetch("gh:acme/app", lock=lock)["app"].revision == second
    assert lockfile.read(lock)["app"].ref == "refs/heads/main"


def test_the_lock_holds_repositories_of_the_list_and_no_folders(githost: GitHost, tmp_path: Path) -> None:
    lock = tmp_path / "repos.lock.yaml"
    (tmp_path / "local").mkdir()
    (tmp_path / "local/main.py").write_text("1")
    sha = githost.create("gh:acme/app", FILES)
    githost.create("gh:acme/two", FILES)
    folder = f"dir:{tmp_path}/local"
    both = fetch("gh:acme/app", "gh:acme/two", folder, lock=lock)
    entries = lockfile.read(lock)
    assert set(entries) == {"app", "two"}
    assert (entries["app"].revision, entries["app"].tree) == (sha, both["app"].tree)
    fetch("gh:acme/two", folder, lock=lock)
    assert set(lockfile.read(lock)) == {"two"}


def test_a_failing_service_leaves_the_lock_as_it_was(githost: GitHost, tmp_path: Path) -> None:
    lock = tmp_path / "repos.lock.yaml"
    githost.create("gh:acme/app", FILES)
    with pytest.raises(KarstError):
        fetch("gh:acme/app", "gh:acme/absent", lock=lock)
    assert not lock.exists()


def test_other_bytes_under_a_locked_commit_are_refused(githost: GitHost, tmp_path: Path, cache: Path) -> None:
    lock = tmp_path / "repos.lock.yaml"
    githost.create("gh:acme/app", FILES)
    fetch("gh:acme/app", lock=lock)
    entry = lockfile.read(lock)["app"]
    lockfile.save(lock, {"app": lockfile.Locked(entry.slug, entry.ref, entry.revision, "0" * 64)})
    with pytest.raises(KarstError) as caught:
        fetch("gh:acme/app", lock=lock)
    assert caught.value.code == "tree_changed"


def test_an_archive_with_other_bytes_than_the_lock_says_is_replaced_by_the_clone(
    githost: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "repos.lock.yaml"
    sha = githost.create("gh:acme/app", FILES)
    good = fetch("gh:acme/app", lock=lock)["app"].tree
    githost.create("gh:acme/evil", {"main.py": "evil"})
    evil = tmp_path / "evil.tar.gz"
    evil.write_bytes(githost.pack("gh:acme/evil", "main", top=f"app-{sha}"))
    githost.configure("gh:acme/app", archive=str(evil))
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "another-cache"))
    assert fetch("gh:acme/app", lock=lock)["app"].tree == good


def test_submodules_are_cloned_at_their_commits(githost: GitHost) -> None:
    deep = githost.create("gl:acme/deep", {"deep.py": "3\n"})
    inner = githost.create(
        "gl:acme/lib",
        {"lib.py": "2\n", ".gitmodules": '[submodule "d"]\n path = d\n url = ../deep.git\n', "d": ("m", deep)},
    )
    githost.commit("gl:acme/lib", {"lib.py": "newer\n"})
    githost.create(
        "gh:acme/app",
        {
            "main.py": "1\n",
            ".gitmodules": f'[submodule "x"]\n\tpath = vendor/lib\n\turl = {githost.url}/gl/acme/lib\n',
            "vendor/lib": ("m", inner),
        },
    )
    one = fetch("gh:acme/app")["app"]
    assert one.missing == ()
    found = listing(one.source)
    assert (found["vendor/lib/lib.py"], found["vendor/lib/d/deep.py"]) == ("2\n", "3\n")


def test_a_submodule_that_cannot_be_had_is_named_and_tried_again(githost: GitHost) -> None:
    lib = githost.create("gh:acme/lib", {"lib.py": "2\n"}, clone=False)
    modules = (
        '[submodule "a"]\n path = a\n url = ../lib.git\n[submodule "b"]\n path = b\n url = git@example.org:x/y.git\n'
    )
    githost.create(
        "gh:acme/app", {"main.py": "1\n", ".gitmodules": modules, "a": ("m", lib), "b": ("m", lib), "c": ("m", lib)}
    )
    one = fetch("gh:acme/app")["app"]
    assert [text.split(" from ")[0] for text in one.missing] == [f"the submodule {name}" for name in "abc"]
    assert "only http and https" in one.missing[1]
    githost.configure("gh:acme/lib")
    assert len(fetch("gh:acme/app")["app"].missing) == 2


def test_submodules_without_end_are_cut_off(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clone, "_MAX_DEPTH", 2)
    files: dict[str, File] = {"x": "1"}
    for number in range(4):
        sha = githost.create(f"gh:acme/level{number}", files)
        modules = f'[submodule "m"]\n path = m\n url = ../level{number}.git\n'
        files = {"x": "1", ".gitmodules": modules, "m": ("m", sha)}
    githost.create("gh:acme/app", files)
    (lacking,) = fetch("gh:acme/app")["app"].missing
    assert "the submodule m/m/m from" in lacking
    assert "more than 2 levels" in lacking


def test_too_many_submodules_are_not_begun(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_SUBMODULES", 2)
    sha = githost.create("gh:acme/lib", {"x": "1"})
    modules = "".join(f'[submodule "{n}"]\n path = m{n}\n url = ../lib.git\n' for n in range(3))
    githost.create("gh:acme/app", {".gitmodules": modules, **{f"m{n}": ("m", sha) for n in range(3)}})
    (lacking,) = fetch("gh:acme/app")["app"].missing
    assert lacking == "its submodules (it has 3 submodules, more than 2)"


def test_a_submodule_never_reads_this_machines_files(githost: GitHost, tmp_path: Path) -> None:
    lib = githost.create("gh:acme/lib", {"secret": "2\n"})
    path = githost.bare("gh:acme/lib")
    for number, url in enumerate(
        (f"file://{path}", str(path), f"ext::sh -c 'touch {tmp_path}/pwned'", "--upload-pack=x")
    ):
        modules = f'[submodule "a"]\n path = a\n url = {url}\n'
        githost.create(f"gh:acme/app{number}", {".gitmodules": modules, "m.py": "1", "a": ("m", lib)})
        one = fetch(f"gh:acme/app{number}")[f"app{number}"]
        assert len(one.missing) == 1
        assert set(listing(one.source)) == {".gitmodules", "m.py"}
    assert not (tmp_path / "pwned").exists()


def test_a_subfolder_is_the_source_and_has_its_own_tree_hash(githost: GitHost) -> None:
    githost.create("gh:acme/mono", FILES)
    whole, part = fetch("gh:acme/mono", {"slug": "gh:acme/mono", "path": "services/api"}).values()
    assert part.source == whole.source / "services/api"
    assert part.tree != whole.tree
    assert part.whole_tree == whole.tree
    githost.commit("gh:acme/mono", FILES | {"main.py": "changed\n"})
    _, again = fetch("gh:acme/mono", {"slug": "gh:acme/mono", "path": "services/api"}).values()
    assert again.revision != part.revision
    assert again.tree == part.tree


def test_two_services_of_one_repository_share_one_download(githost: GitHost) -> None:
    githost.create("gh:acme/mono", FILES)
    fetch("gh:acme/mono", {"slug": "gh:acme/mono", "path": "services/api"}, {"slug": "gh:acme/mono", "name": "third"})
    assert len(githost.log) == 3  # refs, the archive, and where the archive really is


def test_many_fetches_at_once_download_each_commit_once(githost: GitHost, tmp_path: Path) -> None:
    for number in range(4):
        githost.create(f"gh:acme/app{number}", {"v": str(number)}, delay=0.05)
    entries = [f"gh:acme/app{number}" for number in range(4)]
    results: list[dict[str, Fetched]] = []
    threads = [threading.Thread(target=lambda: results.append(fetch(*entries))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(result == results[0] for result in results)
    archives = [path for path in githost.paths() if path.startswith("/codeload/")]
    assert len(archives) == 4


def test_services_are_fetched_side_by_side(githost: GitHost) -> None:
    for number in range(6):
        githost.create(f"gh:acme/app{number}", {"v": str(number)}, delay=0.15)
    fetch(*(f"gh:acme/app{number}" for number in range(6)))
    assert githost.peak > 2


def test_a_damaged_cache_entry_is_fetched_again(githost: GitHost) -> None:
    githost.create("gh:acme/app", FILES)
    one = fetch("gh:acme/app")["app"]
    (one.source / "main.py").unlink()
    assert fetch("gh:acme/app")["app"] == one
    assert (one.source / "main.py").exists()


def test_nothing_is_left_in_the_workplace(githost: GitHost, cache: Path) -> None:
    githost.create("gh:acme/app", FILES)
    githost.create("gh:acme/two", FILES, archive="broken", clone=True)
    fetch_each(parse_list(["gh:acme/app", "gh:acme/two", "gh:acme/absent"], cache), cache)
    assert list((cache / "src/.tmp").iterdir()) == []


def test_a_commit_that_no_branch_holds_any_more_is_still_had(
    githost: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "repos.lock.yaml"
    old = githost.create("gh:acme/app", {"v": "1"}, archive="none")
    fetch("gh:acme/app", lock=lock)
    githost.rewind("gh:acme/app", githost.commit("gh:acme/app", {"v": "other"}, branch="scratch"))
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cold"))
    assert fetch("gh:acme/app", lock=lock)["app"].revision == old
