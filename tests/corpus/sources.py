"""Where the corpus comes from: source archives of the package index, commits of public repositories.

None of that code is in this repository: archives are downloaded into the cache (their hash is the index's own),
repositories are read from a folder of mirrors named by ``KARST_CORPUS_MIRROR`` (``owner+name``, bare or not), else
fetched like any slug when ``KARST_CORPUS_ONLINE=1``. What cannot be had is skipped, and said so. Nothing is built,
installed or run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urljoin

from karst.files import cache_dir, locked


class Unavailable(Exception):
    """This machine cannot have the source; the text says why."""


def checkout(source: str) -> Path:
    """The folder with the files of ``pypi:NAME==VERSION`` or ``gh:owner/name@commit``."""
    folder = cache_dir() / "corpus" / re.sub(r"[^\w.=+-]", "_", source)
    with locked(folder.parent / ".lock"):
        if not (folder / ".complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            kind, _, rest = source.partition(":")
            {"pypi": _from_index, "gh": _from_git}[kind](rest, folder / "tree")
            (folder / ".complete").touch()
    inner = list((folder / "tree").iterdir())
    return inner[0] if source.startswith("pypi:") and len(inner) == 1 and inner[0].is_dir() else folder / "tree"


def _from_git(text: str, into: Path) -> None:
    name, _, commit = text.partition("@")
    mirror = os.environ.get("KARST_CORPUS_MIRROR")
    if mirror:
        base = Path(mirror) / name.replace("/", "+")
        for git in (base, base / "repo", base / "repo/.git", base / ".git"):
            if (git / "objects").is_dir():
                _archive(git, commit, into)
                return
        raise Unavailable(f"{name} is not among the mirrors of KARST_CORPUS_MIRROR")
    if os.environ.get("KARST_CORPUS_ONLINE") != "1":
        raise Unavailable("KARST_CORPUS_MIRROR is not set, nor KARST_CORPUS_ONLINE=1")
    from karst.errors import KarstError
    from karst.fetch import fetch_each
    from karst.manifest import parse_list

    services = parse_list([{"slug": f"gh:{name}#{commit}", "name": "corpus"}], Path.cwd())
    found = fetch_each(services, Path.cwd())["corpus"]
    if isinstance(found, KarstError):
        raise Unavailable(found.message)
    into.symlink_to(found.source)


def _archive(git: Path, commit: str, into: Path) -> None:
    """Unpack a commit. Objects that a shallow mirror lacks (large data) are left out by git with an error."""
    into.mkdir(parents=True, exist_ok=True)
    run = subprocess.Popen(
        ["git", f"--git-dir={git}", "archive", commit], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert run.stdout is not None
    try:
        with tarfile.open(fileobj=run.stdout, mode="r|") as archive:
            for member in archive:
                _unpack(archive, member, into)
    except tarfile.ReadError:
        if not any(into.iterdir()):
            raise Unavailable(f"the mirror does not have commit {commit}") from None
    finally:
        run.stdout.close()
        run.wait()


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    # A link that leaves the tree, a name this file system cannot have: the detector would not look at those either.
    with contextlib.suppress(tarfile.FilterError, OSError):
        archive.extract(member, into, filter="data")


def _from_index(text: str, into: Path) -> None:
    """The source archive of a release, by the index's simple API; no build backend runs."""
    import requests

    name, _, version = text.partition("==")
    index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_INDEX_URL") or "https://pypi.org/simple"
    page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', name).lower()}/"
    try:
        answer = requests.get(
            page, headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.1"}, timeout=60
        )
        answer.raise_for_status()
        url, digest = _choose(answer, page, version)
        raw = requests.get(url, timeout=300)
        raw.raise_for_status()
    except requests.RequestException as err:
        raise Unavailable(f"the package index does not answer for {name}: {type(err).__name__}") from None
    if digest and hashlib.sha256(raw.content).hexdigest() != digest:
        raise Unavailable(f"{url} does not have the hash that the index states")
    archive = into.with_suffix(".zip" if url.split("#")[0].endswith(".zip") else ".tar")
    archive.write_bytes(raw.content)
    into.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(into)
    else:
        with tarfile.open(archive) as opened:
            for member in opened:
                _unpack(opened, member, into)
    archive.unlink()


def _choose(answer: object, page: str, version: str) -> tuple[str, str]:
    """URL and SHA-256 of the release's source archive."""
    import requests

    assert isinstance(answer, requests.Response)
    ends = tuple(f"-{version}{suffix}" for suffix in (".tar.gz", ".zip", ".tar.bz2", ".tgz"))
    if "json" in answer.headers.get("Content-Type", ""):
        for file in answer.json()["files"]:
            if file["filename"].endswith(ends):
                return urljoin(page, file["url"]), file.get("hashes", {}).get("sha256", "")
    else:
        for match in re.finditer(r'href="([^"]+)"', answer.text):
            url = match.group(1).replace("&amp;", "&")
            if url.split("#")[0].endswith(ends):
                return urljoin(page, url), url.partition("#sha256=")[2]
    raise Unavailable(f"the package index has no source archive of version {version}")
