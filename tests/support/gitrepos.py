"""Bare git repositories made from a mapping of files or from a folder; equal input gives equal commit ids."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

KINDS = ("gh", "gl", "bb")
EPOCH = 1_700_000_000
OPTIONS = "githost.json"
ENV = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "LC_ALL": "C",
}
File = str | bytes | tuple[str, str]
"""Text, bytes, ``("x", text)`` for an executable, ``("l", target)`` for a link, ``("m", commit)`` for a submodule."""


@dataclass
class Options:
    """How one repository behaves.

    Attributes:
        token: only this token opens it; "" means public.
        archive: ``ok``, ``none`` (404), ``broken`` (cut short), ``html`` (a sign-in page with 200), ``error`` (503),
            ``other`` (of another commit), or a path of a file that is sent instead.
        clone: False refuses git (403).
        delay: seconds before each answer.
        clone_page: git's addresses answer with a web page.
        broken_pack: git lists its refs, and then sends nonsense instead of a pack.
        redirect: this URL's repository is at another path now (``gh/new/name``).
    """

    token: str = ""
    archive: str = "ok"
    clone: bool = True
    clone_page: bool = False
    broken_pack: bool = False
    delay: float = 0.0
    redirect: str = ""


class Repositories:
    """The bare repositories below ``root``, each at ``<kind>/<path>.git``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def bare(self, slug: str) -> Path:
        kind, _, path = slug.partition(":")
        return self.root / kind / f"{path}.git"

    def create(
        self,
        slug: str,
        files: Mapping[str, File] | Path,
        *,
        branch: str = "main",
        tags: Iterable[str] = (),
        **options: object,
    ) -> str:
        """Make a repository with one commit of ``files`` (or of a folder) and return the commit's id."""
        bare = self.bare(slug)
        bare.mkdir(parents=True)
        git(bare, "init", "-q", "--bare", "--template=", f"--initial-branch={branch}", ".")
        self.configure(slug, **options)
        sha = self.commit(slug, files, branch=branch)
        for tag in tags:
            self.tag(slug, tag, sha)
        return sha

    def configure(self, slug: str, **options: object) -> None:
        """Set Options of a repository; the others get their defaults."""
        (self.bare(slug) / OPTIONS).write_text(json.dumps(asdict(Options(**options))))  # type: ignore[arg-type]

    def commit(
        self, slug: str, files: Mapping[str, File] | Path, *, branch: str = "main", message: str = "Change"
    ) -> str:
        """Commit ``files`` as the branch's whole tree; equal input gives equal ids."""
        bare, ref = self.bare(slug), f"refs/heads/{branch}"
        parent = (bare / ref).exists()
        when = EPOCH + (int(git(bare, "rev-list", "--count", ref)) if parent else 0)
        entries = _folder(files) if isinstance(files, Path) else map(_entry, files.items())
        # One process for all of it: tests make some hundred commits.
        stream = [
            f"commit {ref}\nmark :1\ncommitter Author <author@example.org> {when} +0000\n".encode(),
            _data(message.encode() + b"\n"),
            f"from {ref}^0\n".encode() if parent else b"",
            b"deleteall\n",
        ]
        for name, mode, content in entries:
            path = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            what = content.decode() if mode == "160000" else "inline"
            stream.append(f'M {mode} {what} "{path}"\n'.encode(errors="surrogateescape"))
            stream.append(b"" if mode == "160000" else _data(content))
        stream.append(b"get-mark :1\n")
        return git(bare, "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", stdin=b"".join(stream))

    def tag(self, slug: str, name: str, sha: str, *, annotated: bool = False) -> None:
        """Tag a commit."""
        dates = {"GIT_COMMITTER_DATE": f"{EPOCH} +0000"}
        git(self.bare(slug), "tag", *(("-a", "-m", name) if annotated else ()), name, sha, env=dates)

    def lfs(self, slug: str, data: bytes, *, stored: bytes | None = None) -> str:
        """Keep ``data`` (or ``stored`` in its place) for Git LFS, and return the pointer file for it."""
        oid = hashlib.sha256(data).hexdigest()
        folder = self.root / "lfs" / slug.replace(":", "/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / oid).write_bytes(data if stored is None else stored)
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"

    def pack(self, slug: str, ref: str, *, top: str) -> bytes:
        """The gzipped archive of a commit, as a host makes it."""
        bare = self.bare(slug)
        command = ["git", f"--git-dir={bare}", "archive", "--format=tar.gz", f"--prefix={top}/", ref]
        return subprocess.run(command, env=ENV, capture_output=True, timeout=60, check=True).stdout

    def rewind(self, slug: str, sha: str, *, branch: str = "main") -> None:
        """Force a branch to another commit, as after a force-push."""
        git(self.bare(slug), "update-ref", f"refs/heads/{branch}", sha)

    def empty(self, slug: str) -> None:
        """Make the repository one without any commit."""
        options = (self.bare(slug) / OPTIONS).read_text()
        shutil.rmtree(self.bare(slug))
        self.bare(slug).mkdir()
        git(self.bare(slug), "init", "-q", "--bare", "--template=", ".")
        (self.bare(slug) / OPTIONS).write_text(options)


def _entry(item: tuple[str, File]) -> tuple[str, str, bytes]:
    """Name, mode and content of one file; a submodule's content is its commit."""
    name, content = item
    mode = "100644"
    if isinstance(content, tuple):
        mode = {"x": "100755", "l": "120000", "m": "160000"}[content[0]]
        content = content[1]
    return name, mode, content.encode() if isinstance(content, str) else content


def _folder(root: Path) -> Iterator[tuple[str, str, bytes]]:
    """The same for each file below ``root``, also of those that a .gitignore names."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if ".git" in name.parts or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            yield str(name), "120000", os.fsencode(path.readlink())
        else:
            yield str(name), "100755" if path.stat().st_mode & 0o100 else "100644", path.read_bytes()


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def git(
    bare: Path, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: Path | None = None
) -> str:
    done = subprocess.run(
        ["git", f"--git-dir={bare}", *arguments],
        cwd=cwd or bare,
        env={**ENV, **(env or {})},
        input=stdin,
        capture_output=True,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="surrogateescape").strip()
