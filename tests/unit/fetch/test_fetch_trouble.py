"""Everything that goes wrong outside: one sentence that says what and where, and nothing changed."""

from __future__ import annotations

import errno
import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from karst.errors import Exit, KarstError
from karst.fetch import fetch_all
from karst.manifest import parse_list
from tests.support.githost import GitHost

pytestmark = pytest.mark.slow

FILES = {"main.py": "print('hello')\n"}


def trouble(*entries: Any) -> KarstError:
    """The one error of fetching ``entries``; its cache must hold no checkout afterwards."""
    with pytest.raises(KarstError) as caught:
        fetch_all(parse_list(list(entries), Path("/srv")), Path("/srv"))
    cache = Path(os.environ["KARST_CACHE"])
    assert not list(cache.rglob("*.json"))
    assert not list((cache / "src/.tmp").glob("*"))
    return caught.value


def packed(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path = tmp_path / "crafted.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue()))
    return str(path)


def test_a_repository_that_is_not_there_mentions_the_token(githost: GitHost) -> None:
    error = trouble("gh:acme/absent")
    assert error.code == "repo_not_found"
    assert "gh:acme/absent is not at" in error.message
    assert "GITHUB_TOKEN" in error.hint


def test_a_repository_that_the_token_may_not_read_names_the_token(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    githost.create("gl:acme/secret", FILES, token="right")
    monkeypatch.setenv("GITLAB_TOKEN", "wrong")
    error = trouble("gl:acme/secret")
    assert error.code == "repo_not_found"
    assert "GITLAB_TOKEN may read it" in error.hint


def test_a_missing_ref_suggests_near_ones(githost: GitHost) -> None:
    githost.create("gh:acme/app", FILES, tags=["v1.0.0", "v1.1.0"])
    error = trouble("gh:acme/app#1.0.0")
    assert error.code == "ref_not_found"
    assert "`v1.0.0`" in error.hint


def test_a_commit_that_is_not_there_is_said_to_be_so(githost: GitHost) -> None:
    githost.create("gh:acme/app", FILES)
    error = trouble("gh:acme/app#" + "1" * 40)
    assert error.code == "ref_not_found"
    assert "no commit 111111111111" in error.message


def test_the_beginning_of_a_commit_id_is_answered_with_the_whole(githost: GitHost) -> None:
    sha = githost.create("gh:acme/app", FILES)
    error = trouble(f"gh:acme/app#{sha[:8]}")
    assert error.code == "short_sha"
    assert f"gh:acme/app#{sha}" in error.hint


def test_both_ways_refused_gives_both_reasons(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = githost.create("gh:acme/app", FILES, archive="none", broken_pack=True)
    error = trouble(f"gh:acme/app#{sha}")
    assert error.code == "both_refused"
    assert "the tarball (HTTP 404)" in error.message
    assert "the clone (" in error.message
    assert "\n" not in error.message


def test_a_host_that_refuses_everything_is_private(githost: GitHost) -> None:
    sha = githost.create("gh:acme/app", FILES, archive="none", clone=False)
    assert trouble(f"gh:acme/app#{sha}").code == "repo_not_found"


def test_an_empty_repository_says_so(githost: GitHost) -> None:
    githost.create("gh:acme/app", FILES)
    githost.empty("gh:acme/app")
    assert trouble("gh:acme/app").code == "empty"


def test_a_missing_subfolder_lists_the_folders_there_are(githost: GitHost) -> None:
    githost.create("gh:acme/mono", {"services/api/x": "1", "services/web/x": "1", "docs/x": "1", ".github/x": "1"})
    with pytest.raises(KarstError) as caught:
        fetch_all(parse_list([{"slug": "gh:acme/mono", "path": "services/shop"}], Path("/")), Path("/"))
    assert caught.value.code == "no_path"
    assert caught.value.hint == "the folders in `services` of it are api, web"
    with pytest.raises(KarstError) as caught:
        fetch_all(parse_list([{"slug": "gh:acme/mono", "path": "service"}], Path("/")), Path("/"))
    assert caught.value.hint == "the folders in it are docs, services"


def test_a_link_to_a_folder_leads_to_it(githost: GitHost) -> None:
    githost.create("gh:acme/mono", {"services/api/x": "1", "api": ("l", "services/api")})
    (one,) = fetch_all(parse_list([{"slug": "gh:acme/mono", "path": "api"}], Path("/")), Path("/")).values()
    assert one.source.parts[-2:] == ("services", "api")


def test_a_file_is_no_subfolder(githost: GitHost) -> None:
    githost.create("gh:acme/mono", {"a/x": "1", "l": ("l", "a")})
    with pytest.raises(KarstError, match="has no folder `a/x`"):
        fetch_all(parse_list([{"slug": "gh:acme/mono", "path": "a/x", "name": "app"}], Path("/")), Path("/"))


def crafted(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (crafted("app-1/../../evil"), "leaves its folder"),
        (crafted("app-1/l", tarfile.SYMTYPE, "/etc/passwd"), "leaves the repository"),
        (crafted("app-1/l", tarfile.SYMTYPE, "../../x"), "leaves the repository"),
        (crafted("app-1/dev", tarfile.CHRTYPE), "a device"),
    ],
)
def test_a_dangerous_archive_is_refused_and_not_fetched_another_way(
    githost: GitHost, tmp_path: Path, member: tarfile.TarInfo, words: str
) -> None:
    path = packed(tmp_path, (crafted("app-1/main.py"), b"1"), (member, b""))
    githost.create("gh:acme/app", FILES, archive=path)
    error = trouble("gh:acme/app")
    assert error.code == "unsafe_archive"
    assert error.message.startswith("app: gh:acme/app: ")
    assert words in error.message
    assert not any("upload-pack" in path for path in githost.paths())


def test_a_link_out_of_the_repository_is_refused_in_a_clone_as_well(githost: GitHost) -> None:
    githost.create("gh:acme/app", {"main.py": "1", "l": ("l", "/etc/passwd")}, archive="none")
    error = trouble("gh:acme/app")
    assert error.code == "unsafe_archive"
    assert "/etc/passwd" in error.message


def test_a_bomb_is_refused_with_the_variable_that_allows_it(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    githost.create("gh:acme/app", {f"f{number}": "" for number in range(30)})
    monkeypatch.setenv("KARST_FETCH_MAX_FILES", "20")
    error = trouble("gh:acme/app")
    assert error.code == "too_large"
    assert "KARST_FETCH_MAX_FILES" in error.hint
    monkeypatch.setenv("KARST_FETCH_MAX_FILES", "40")
    assert fetch_all(parse_list(["gh:acme/app"], Path("/")), Path("/"))


@pytest.mark.parametrize(("archive", "words"), [("ok", "MiB to download"), ("none", "its pack is larger")])
def test_a_repository_larger_than_the_limit_is_refused_by_both_ways(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch, archive: str, words: str
) -> None:
    githost.create("gh:acme/app", {"big": os.urandom(3 << 20)}, archive=archive)
    monkeypatch.setenv("KARST_FETCH_MAX_MB", "1")
    monkeypatch.setenv("KARST_FETCH_MAX_TREE_MB", "1")
    error = trouble("gh:acme/app")
    assert error.code == "too_large"
    assert words in error.message
    assert "KARST_FETCH_MAX" in error.hint


def test_a_wrong_limit_is_a_usage_error(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_FETCH_TIMEOUT", "soon")
    error = trouble("gh:acme/app")
    assert (error.code, error.exit_code) == ("bad_limit", Exit.USAGE)


@pytest.mark.parametrize("how", [{"delay": 5.0}, {"archive": "none", "delay": 5.0}])
def test_a_host_that_takes_too_long_is_given_up(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    githost.create("gh:acme/app", FILES, **how)
    monkeypatch.setenv("KARST_FETCH_TIMEOUT", "1")
    assert trouble("gh:acme/app").code in ("timeout", "network")


def test_a_host_that_is_not_there_is_one_sentence_without_a_traceback(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    githost.stop()
    error = trouble("gh:acme/app")
    assert error.code == "network"
    assert "127.0.0.1" in error.message
    assert "cannot be reached" in error.message


def test_a_name_that_does_not_resolve_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_GH_URL", "https://git.invalid")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    error = trouble("gh:acme/app")
    assert error.code == "network"
    assert "git.invalid cannot be found" in error.message


def test_a_host_that_is_no_git_host_says_so(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    githost.create("gh:acme/app", FILES, clone_page=True)
    error = trouble("gh:acme/app")
    assert error.code == "not_git"
    assert "KARST_GH_URL" in error.hint


def test_all_failing_services_are_reported_together_a_sentence_each(githost: GitHost) -> None:
    githost.create("gh:acme/app", FILES)
    with pytest.raises(KarstError) as caught:
        fetch_all(
            parse_list(
                ["gh:acme/app", "gh:acme/absent", {"slug": "gh:acme/app#nope", "name": "two"}, "dir:/nowhere/at-all"],
                Path("/"),
            ),
            Path("/"),
        )
    first, *lines = caught.value.message.split("\n")
    assert first == "3 of 4 services could not be fetched"
    assert [line.split(":")[0].strip() for line in lines] == ["absent", "at-all", "two"]
    assert caught.value.exit_code == Exit.FAILED


def test_without_git_a_clone_only_repository_says_that_git_is_missing(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    githost.create("gh:acme/app", FILES, archive="none")
    githost.create("gh:acme/two", FILES)
    monkeypatch.setattr("shutil.which", lambda _: None)
    error = trouble("gh:acme/app")
    assert "git is not installed" in error.message
    assert fetch_all(parse_list(["gh:acme/two"], Path("/")), Path("/"))


@pytest.mark.parametrize("archive", ["ok", "none"])
def test_a_full_disk_is_named_and_leaves_nothing_behind(
    githost: GitHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, archive: str
) -> None:
    """On a real full disk (a small tmpfs) where this process may mount one."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs here; the test below covers the same with a simulated error")
    try:
        monkeypatch.setenv("KARST_CACHE", str(small / "cache"))
        githost.create("gh:acme/app", {"big": os.urandom(3 << 20)}, archive=archive)
        error = trouble("gh:acme/app")
        assert error.code == "disk_full"
        assert "no space left" in error.message
        assert "KARST_CACHE" in error.hint
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_disk_that_fills_up_while_unpacking_is_named(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    githost.create("gh:acme/app", FILES)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("karst.fetch.archive._Unpacker._write", full)
    assert trouble("gh:acme/app").code == "disk_full"


def test_an_interrupt_stops_the_other_downloads_soon(githost: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from karst.fetch import repository

    githost.create("gh:acme/app", FILES)

    def interrupted(*arguments: Any, **_: Any) -> None:
        budget = arguments[-1]
        if str(arguments[0]).endswith("#main"):
            raise KeyboardInterrupt
        while True:
            budget.left()
            time.sleep(0.01)

    monkeypatch.setattr(repository, "obtain", interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch_all(
            parse_list(
                [{"slug": "gh:acme/app#main", "name": "one"}, {"slug": "gh:acme/app", "name": "two"}], Path("/")
            ),
            Path("/"),
        )
    assert time.monotonic() - start < 5
