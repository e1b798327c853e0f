"""Git LFS: archives and plain clones hold pointer files; the contents are asked for by the batch API.

Pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, API: docs/api/batch.md there. Each content is
checked against the SHA-256 in its pointer, which the commit id covers.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst.errors import KarstError
from karst.fetch import web
from karst.fetch.clone import Place
from karst.fetch.limits import MIB, Budget
from karst.slug import shown

_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n")
_POINTER_MAX = 1024  # the specification's bound for a pointer file
_BATCH = 100
_MEDIA = "application/vnd.git-lfs+json"


@dataclass(frozen=True)
class Pointer:
    """A file that stands for its contents."""

    path: str
    oid: str
    size: int


def pointers(root: Path) -> list[Pointer]:
    """The pointer files below ``root``, sorted; only looked for when some .gitattributes says that LFS is in use."""
    if not any(_uses_lfs(path) for path in root.rglob(".gitattributes")):
        return []
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink() and len(_VERSION) < path.stat().st_size <= _POINTER_MAX:
                raw = path.read_bytes()
                match = _POINTER.search(raw)
                if raw.startswith(_VERSION) and match:
                    found.append(Pointer(path.relative_to(root).as_posix(), match[1].decode(), int(match[2])))
    return sorted(found, key=lambda pointer: pointer.path)


def sentence(missing: Sequence[Pointer], why: str) -> str:
    """What a checkout lacks, for ``Checkout.missing``."""
    more = ", …" if len(missing) > 1 else ""
    plural = "s" if len(missing) > 1 else ""
    return f"the contents of {len(missing)} Git LFS file{plural} ({shown(missing[0].path)}{more}): {why}"


def fill(root: Path, wanted: Sequence[Pointer], place: Place, work: Path, budget: Budget) -> None:
    """Put the contents in place of the pointers; KarstError when one cannot be had (those before it are in place)."""
    total = sum({pointer.oid: pointer.size for pointer in wanted}.values())
    if total > budget.limits.download:
        raise KarstError(
            f"{total // MIB} MiB, and KARST_FETCH_MAX_MB allows {budget.limits.download // MIB}", code="too_large"
        )
    paths: dict[tuple[str, int], list[str]] = {}
    for pointer in wanted:
        paths.setdefault((pointer.oid, pointer.size), []).append(pointer.path)
    objects = list(paths)
    for start in range(0, len(objects), _BATCH):
        batch = objects[start : start + _BATCH]
        for (oid, size), href, headers in _actions(batch, place, budget):
            content = work / "lfs"
            _download(content, oid, size, href, headers, budget)
            for path in paths[oid, size]:
                mode = (root / path).stat().st_mode & 0o777
                shutil.copyfile(content, root / path)
                (root / path).chmod(mode)
            content.unlink()


def _actions(
    batch: Iterable[tuple[str, int]], place: Place, budget: Budget
) -> list[tuple[tuple[str, int], str, dict[str, str]]]:
    """Where each object is, and the headers that its address wants; KarstError when the host does not say."""
    asked = dict(batch)
    body = {
        "operation": "download",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": [{"oid": oid, "size": size} for oid, size in asked.items()],
    }
    answer = web.post_json(f"{place.url}/info/lfs/objects/batch", place.auth, body, _MEDIA, budget)
    result = []
    for item in _list(answer, "objects"):
        oid = item.get("oid") if isinstance(item, dict) else None
        if not isinstance(oid, str) or oid not in asked:
            raise KarstError("the host's answer makes no sense", code="lfs")
        action: Any = item.get("actions")
        action = action.get("download") if isinstance(action, dict) else None
        if not isinstance(action, dict) or not str(action.get("href", "")).startswith(("https://", "http://")):
            error = item.get("error")
            code = error.get("code") if isinstance(error, dict) else None
            raise KarstError(f"the host does not have it{f' ({code})' if isinstance(code, int) else ''}", code="lfs")
        headers = action.get("header") or {}
        if not isinstance(headers, dict):
            raise KarstError("the host's answer makes no sense", code="lfs")
        result.append(((oid, asked.pop(oid)), str(action["href"]), {str(k): str(v) for k, v in headers.items()}))
    if asked:
        raise KarstError("the host does not have all of them", code="lfs")
    return result


def _list(answer: Any, key: str) -> list[Any]:
    value = answer.get(key) if isinstance(answer, dict) else None
    return value if isinstance(value, list) else []


def _download(target: Path, oid: str, size: int, href: str, headers: dict[str, str], budget: Budget) -> None:
    digest = hashlib.sha256()
    with web.get(href, "", budget, headers=headers) as response, target.open("wb") as handle:
        if response.status_code != 200:
            raise KarstError(f"HTTP {response.status_code}", code="lfs")
        for chunk in response.iter_content(1 << 18):
            budget.left()
            digest.update(chunk)
            handle.write(chunk)
            if handle.tell() > size:
                break
    if digest.hexdigest() != oid:
        raise KarstError("what came is not what the commit names", code="lfs")


def _uses_lfs(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and b"filter=lfs" in path.read_bytes()[: 1 << 20]
    except OSError:
        return False
