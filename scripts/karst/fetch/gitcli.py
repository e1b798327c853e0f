"""Git as a child process that can do one thing only: fetch one commit over HTTP(S) into a throw-away repository.

No hooks, no prompts, no credential helpers, no configuration of the user or the machine, no protocol but http and
https, and a commit that git itself has checked against its id. What comes out is an archive stream, never a checkout,
so that no filter, no `.git` trick and no attribute of the repository runs anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from karst.errors import KarstError
from karst.fetch.archive import too_large
from karst.fetch.hosts import Remote
from karst.fetch.limits import Budget
from karst.fetch.web import ca_bundle

# GIT_ALLOW_PROTOCOL beats every protocol.* setting (git(1)); the settings are there for whoever reads the environment.
_SETTINGS = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.file.allow", "never"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
    ("http.followRedirects", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("init.defaultBranch", "main"),
)
_KEPT = (
    *("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
    *("http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"),
)


class GitFailed(KarstError):
    """Git said no; the message is its last line, without any token."""


def environment(home: Path, settings: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """The child's whole environment; ``settings`` come on top of the fixed ones and may hold a header with a token."""
    env = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
    bundle = ca_bundle()
    if bundle:
        env["GIT_SSL_CAINFO"] = bundle
    env.update(
        HOME=str(home),
        LC_ALL="C",
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="true",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_ATTR_NOSYSTEM="1",
        GIT_ALLOW_PROTOCOL="http:https",
        GIT_CONFIG_COUNT=str(len(_SETTINGS) + len(settings)),
    )
    for number, (key, value) in enumerate((*_SETTINGS, *settings)):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env


@contextlib.contextmanager
def repository(parent: Path, *, sha256: bool = False) -> Iterator[Path]:
    """An empty bare repository below ``parent``, gone afterwards; KarstError (``no_git``) when there is no git."""
    if shutil.which("git") is None:
        raise KarstError("git is not installed", hint="install git", code="no_git")
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="git."))
    try:
        repo = folder / "repo"
        repo.mkdir()
        # No template: those of the machine may hold hooks.
        output(repo, "init", "-q", "--bare", "--template=", f"--object-format={'sha256' if sha256 else 'sha1'}", ".")
        yield repo
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch(
    repo: Path, remote: Remote, url: str, auth: str, wanted: str, budget: Budget, *, shallow: bool = True
) -> None:
    """``git fetch`` of ``wanted`` (a commit id, or a full ref name) from ``url``; GitFailed when it cannot.

    ``auth`` goes into the environment as ``http.<url>.extraHeader``, so that it is sent to that URL and no other.
    """
    settings = [(f"http.{url}.extraHeader", f"Authorization: {auth}")] if auth else []
    # No pack can be larger than this file-size limit (in blocks of 512 bytes). The script's text is fixed.
    limit = ["sh", "-c", 'ulimit -f "$0" && exec "$@"', str(budget.limits.tree // 512)]
    depth = ["--depth=1"] if shallow else []
    command = ["git", "fetch", "-q", *depth, "--no-tags", "--no-write-fetch-head", "--", url, f"+{wanted}:refs/karst/x"]
    with _child([*limit, *command], repo, settings) as child:
        child.wait(budget)
        child.check(remote)


def commit_time(repo: Path, sha: str) -> int:
    """Seconds since 1970 of the commit; GitFailed when ``sha`` is not a commit of ``repo``."""
    shown = output(repo, "show", "-s", "--format=%H %ct", f"{sha}^{{commit}}", "--").decode()
    found, _, seconds = shown.strip().partition(" ")
    if found != sha or not seconds.isdigit():
        raise GitFailed(f"{sha} is not a commit")
    return int(seconds)


def output(repo: Path, *arguments: str) -> bytes:
    """What a local git command prints; GitFailed when it fails."""
    with _child(["git", *arguments], repo) as child:
        said = child.stdout.read()
        child.wait(None)
        child.check(None)
        return said


@contextlib.contextmanager
def archive(repo: Path, sha: str, budget: Budget) -> Iterator[IO[bytes]]:
    """The commit as a tar stream with one top folder: the same bytes of files that the hosts' own archives have."""
    with _child(["git", "archive", "--format=tar", "--prefix=tree/", sha], repo) as child:
        yield child.stdout
        while child.stdout.read(1 << 16):  # the padding at tar's end
            budget.left()
        child.wait(budget)
        child.check(None)


class _Child:
    """A running git, its output as a pipe, and what it says on stderr in a file that never fills up and blocks it."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101  # a pipe, as asked for below
        self.process, self.stdout, self.said = process, process.stdout, said

    def wait(self, budget: Budget | None) -> None:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=60 if budget is None else min(0.5, budget.left()))
                return
            if budget is None:
                raise GitFailed("git did not answer within a minute")

    def check(self, remote: Remote | None) -> None:
        """GitFailed, or ``disk_full`` and ``too_large``, when it failed."""
        if self.process.returncode == 0:
            return
        self.said.seek(0)
        text = self.said.read(1 << 16).decode(errors="replace")
        if "No space left on device" in text or "Disk quota exceeded" in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if "File too large" in text or f"signal {signal.SIGXFSZ.value}" in text:
            raise too_large("its pack is larger than the limit for a tree", "KARST_FETCH_MAX_TREE_MB")
        lines = [line for line in text.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal: ", "error: ", "remote: "))]
        last = (told or lines or [f"git ended with {self.process.returncode}"])[-1]
        if told and told[-1].startswith("fatal: the remote end hung up") and len(told) > 1:
            last = told[-2]
        last = last.removeprefix("fatal: ").removeprefix("error: ")
        raise GitFailed(remote.redact(last) if remote else " ".join(last.split())[:300])

    def stop(self) -> None:
        # The session is ended whole: git starts helpers of its own.
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.stdout.close()


@contextlib.contextmanager
def _child(command: Sequence[str], repo: Path, settings: Sequence[tuple[str, str]] = ()) -> Iterator[_Child]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            cwd=repo,
            env=environment(repo.parent, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        child = _Child(process, said)
        try:
            yield child
        finally:
            child.stop()
