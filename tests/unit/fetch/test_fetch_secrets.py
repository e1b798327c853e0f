"""Tokens: they open what they should, and show up nowhere else. Each test looks for a canary value."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from karst.errors import KarstError, UsageError
from karst.fetch import fetch_each, gitcli, handle
from karst.fetch.hosts import Remote, remote
from karst.fetch.limits import Budget, Limits
from karst.manifest import parse_list
from karst.slug import parse
from tests.support.githost import GitHost

CANARY = "canary-7f3a9b"
SPELLINGS = [CANARY, *(base64.b64encode(f"{user}:{CANARY}".encode()).decode() for user in ("x-access-token", "oauth2"))]
ROOT = Path(__file__).resolve().parents[3]


def shows(text: str | bytes) -> bool:
    """True when the canary is in ``text`` in any spelling."""
    raw = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return any(spelling.encode() in raw for spelling in SPELLINGS)


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", CANARY)
    monkeypatch.setenv("GITLAB_TOKEN", CANARY)


def test_no_cache_lock_result_or_error_holds_a_token(
    githost: GitHost, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    lib = githost.create("gh:acme/lib", {"x": "1"})
    githost.create("gh:acme/archive", {"main.py": "1"}, token=CANARY)
    githost.create("gh:acme/clone", {"main.py": "1"}, token=CANARY, archive="none")
    githost.create("gl:acme/html", {"main.py": "1"}, token=CANARY, archive="html")
    githost.create("gl:acme/broken", {"main.py": "1"}, token=CANARY, archive="none", broken_pack=True)
    githost.create("gh:acme/other", {"main.py": "1"}, token="another")
    githost.create("gh:acme/sub", {".gitmodules": '[submodule "a"]\n path = a\n url = ../gone\n', "a": ("m", lib)})
    slugs = ["gh:acme/archive", "gh:acme/clone", "gl:acme/html", "gl:acme/broken", "gh:acme/other", "gh:acme/sub"]
    results = fetch_each(parse_list(slugs, tmp_path), tmp_path)
    assert [isinstance(result, KarstError) for result in results.values()] == [False, False, False, True, True, False]
    for result in results.values():
        assert not shows(str(result) + repr(result))
        assert isinstance(result, KarstError) or not shows(json.dumps(result.to_dict()))
    lock = tmp_path / "repos.lock.yaml"
    query = {"slugs": json.dumps(slugs[:3]), "base_dir": str(tmp_path), "lock_file": str(lock)}
    assert not shows(json.dumps(handle(query)))
    assert not shows(lock.read_bytes())
    assert not shows(caplog.text)
    for path in cache.rglob("*"):
        assert not shows(str(path))
        assert not path.is_file() or not shows(path.read_bytes())
    assert not any(shows(request.path) for request in githost.log)


def test_no_process_has_a_token_among_its_arguments(githost: GitHost, tmp_path: Path) -> None:
    """While a slow clone runs, every process of the machine is looked at."""
    githost.create("gh:acme/app", {"main.py": "1"}, token=CANARY, archive="none", delay=0.4)
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        (result,) = fetch_each(parse_list(["gh:acme/app"], tmp_path), tmp_path).values()
    finally:
        done.set()
        watcher.join()
    assert not isinstance(result, KarstError), result
    assert any(b"git" in line and b"/gh/acme/app.git" in line for line in seen), "the watcher saw no git at all"
    assert not any(shows(line) for line in seen)


def test_the_program_prints_no_token(githost: GitHost, tmp_path: Path) -> None:
    githost.create("gh:acme/app", {"main.py": "1"}, token=CANARY, archive="none")
    githost.create("gh:acme/other", {"main.py": "1"}, token="another")
    command = [sys.executable, "-c", "import sys; from karst.fetch.command import main; sys.exit(main(sys.argv[1:]))"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "GIT_TRACE": "1", "GIT_CURL_VERBOSE": "1"}
    for slug, code in (("gh:acme/app", 0), ("gh:acme/other", 1)):
        done = subprocess.run([*command, slug], env=env, capture_output=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert not shows(done.stdout + done.stderr)


def test_a_redirect_to_another_host_does_not_take_the_token_along(githost: GitHost, tmp_path: Path) -> None:
    githost.create("gh:acme/app", {"main.py": "1"}, token=CANARY)
    fetch_each(parse_list(["gh:acme/app"], tmp_path), tmp_path)
    elsewhere = [request for request in githost.log if request.port != githost.port]
    assert elsewhere
    assert not any(request.authorization for request in elsewhere)
    assert all(request.authorization for request in githost.log if request.port == githost.port)


def test_a_submodule_on_another_host_does_not_get_the_token(githost: GitHost, tmp_path: Path) -> None:
    lib = githost.create("bb:acme/lib", {"x": "1"})
    modules = f'[submodule "a"]\n path = a\n url = {githost.url}/bb/acme/lib.git\n'
    githost.create("gh:acme/app", {".gitmodules": modules, "a": ("m", lib)}, token=CANARY)
    (result,) = fetch_each(parse_list(["gh:acme/app"], tmp_path), tmp_path).values()
    assert not isinstance(result, KarstError)
    assert result.missing == ()
    theirs = [request for request in githost.log if request.path.startswith("/bb/")]
    assert theirs
    assert not any(request.authorization for request in theirs)


def test_a_netrc_file_is_not_read(githost: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password from-netrc\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.delenv("GITHUB_TOKEN")
    githost.create("gh:acme/app", {"main.py": "1"}, archive="none")
    fetch_each(parse_list(["gh:acme/app"], tmp_path), tmp_path)
    assert githost.log
    assert not any(request.authorization for request in githost.log)


def test_gits_child_gets_nothing_of_the_callers_environment_but_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_TRACE", "GIT_SSH_COMMAND", "GIT_EXEC_PATH", "LD_PRELOAD", "GIT_CONFIG_PARAMETERS", "GIT_DIR"):
        monkeypatch.setenv(name, "x")
    env = gitcli.environment(tmp_path)
    assert not {"GIT_TRACE", "GIT_SSH_COMMAND", "GIT_EXEC_PATH", "LD_PRELOAD", "GIT_CONFIG_PARAMETERS"} & set(env)
    assert "GITHUB_TOKEN" not in env
    assert env["GIT_ALLOW_PROTOCOL"] == "http:https"
    assert env["GIT_TERMINAL_PROMPT"] == "0"


def test_git_neither_reads_files_nor_runs_hooks_of_the_machine(
    githost: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "template/hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
        (hooks / name).chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[init]\n templateDir = {tmp_path}/template\n[core]\n hooksPath = {hooks}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    githost.create("gh:acme/app", {"main.py": "1"}, archive="none")
    monkeypatch.delenv("GITHUB_TOKEN")
    (result,) = fetch_each(parse_list(["gh:acme/app"], tmp_path), tmp_path).values()
    assert not isinstance(result, KarstError)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "url", ["file:///etc", "/etc", "ssh://git@127.0.0.1/x", "ext::sh -c true", "git://127.0.0.1/x"]
)
def test_git_speaks_http_only(tmp_path: Path, url: str) -> None:
    tmp_path.joinpath("src").mkdir()
    with gitcli.repository(tmp_path) as repo, pytest.raises(gitcli.GitFailed) as caught:
        gitcli.fetch(repo, Remote(parse("gh:a/b"), "https://x"), url, "", "HEAD", Budget(Limits()))
    assert "not allowed" in caught.value.message


@pytest.mark.parametrize(
    ("slug", "base", "token", "expected"),
    [
        ("gh:o/r", "", "", "https://github.com/o/r/archive/SHA.tar.gz"),
        ("gh:o/r", "", "t", "https://api.github.com/repos/o/r/tarball/SHA"),
        ("gh:o/r", "https://ghe.corp/", "t", "https://ghe.corp/o/r/archive/SHA.tar.gz"),
        ("gl:g/s/r", "", "t", "https://gitlab.com/g/s/r/-/archive/SHA/r-SHA.tar.gz"),
        ("gl:g/s/r", "https://corp/git", "", "https://corp/git/g/s/r/-/archive/SHA/r-SHA.tar.gz"),
        ("bb:o/r", "", "", "https://bitbucket.org/o/r/get/SHA.tar.gz"),
    ],
)
def test_archives_are_where_each_host_has_them(
    monkeypatch: pytest.MonkeyPatch, slug: str, base: str, token: str, expected: str
) -> None:
    kind = slug[:2].upper()
    monkeypatch.setenv(f"KARST_{kind}_URL", base)
    for name in ("GITHUB_TOKEN", "GITLAB_TOKEN", "BITBUCKET_TOKEN"):
        monkeypatch.setenv(name, token)
    assert remote(parse(slug)).tarball_url("SHA") == expected


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("ftp://x", "bad_base_url"),
        ("github.com", "bad_base_url"),
        ("https://", "bad_base_url"),
        ("https://x/?a=b", "bad_base_url"),
        ("https://x:y/", "bad_base_url"),
        ("https://[::1", "bad_base_url"),
        ("https://x y/", "bad_base_url"),
        (f"https://me:{CANARY}@x/", "bad_base_url"),
        ("http://git.corp", "token_in_clear"),
    ],
)
def test_a_base_url_that_is_none_or_would_give_the_token_away_is_refused(
    monkeypatch: pytest.MonkeyPatch, base: str, code: str
) -> None:
    monkeypatch.setenv("KARST_GH_URL", base)
    with pytest.raises(UsageError) as caught:
        remote(parse("gh:o/r"))
    assert caught.value.code == code
    assert "KARST_GH_URL" in caught.value.message
    assert not shows(str(caught.value))


def test_http_is_fine_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setenv("KARST_GH_URL", "http://git.corp/")
    assert remote(parse("gh:o/r")).git_url == "http://git.corp/o/r.git"


@pytest.mark.parametrize("token", ["a b", "a\nb", "a\x00b".replace("\x00", "\x01"), "tökén"])
def test_a_token_that_could_end_its_header_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", token)
    with pytest.raises(UsageError) as caught:
        remote(parse("gh:o/r"))
    assert caught.value.code == "bad_token"
    assert token not in str(caught.value)


def test_what_others_say_is_redacted() -> None:
    there = Remote(parse("gh:o/r"), "https://github.com", CANARY)
    said = f"could not read https://x:{CANARY}@host/ with Basic {SPELLINGS[1]} and\n\x1b[31m{CANARY}"
    assert not shows(there.redact(said))
    assert "\x1b" not in there.redact(said)
    assert CANARY not in repr(there)
