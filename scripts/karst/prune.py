"""What a stack does not need any more: images beyond the retention, and what in the cache nobody has used for long.

Never touched are images that a container uses, the last generations of each service (what a rollback goes back to), and
the sources and build contexts of the last generations of every stack beside this one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst import containers, generations
from karst.fetch import store
from karst.files import cache_dir
from karst.generations import Generation
from karst.stack import Stack

KINDS = ("image", "source", "build", "render", "detect", "bytecode")


@dataclass(frozen=True)
class Removal:
    """One thing that can go.

    Attributes:
        kind: one of KINDS.
        name: an image's tag (or id, when it has none), else a path in the cache.
        size: bytes that its removal frees: what it shares with something that stays does not count.
    """

    kind: str
    name: str
    size: int


def find(stack: Stack, docker: Any, *, keep: int, unused: float) -> list[Removal]:
    """All that can go. ``keep``: generations of each service to retain; ``unused``: days for which a cache entry was
    not used.
    """
    return [*images(stack, docker, keep), *caches(stack.home.parent, keep, unused * 24 * 3600)]


def retained(history: list[Generation], keep: int) -> list[Generation]:
    """The generations to retain of one service: the one that serves, and the newest ``keep`` there were.

    Of a service that was taken down, nothing is.
    """
    good = generations.last_good(history)
    return [good, *generations.distinct(history)[:keep]] if good else []


def images(stack: Stack, docker: Any, keep: int) -> list[Removal]:
    """The stack's app images that neither a container nor a retained generation needs."""
    wanted = {
        one.image
        for name in generations.services(stack.history_dir)
        for one in retained(generations.read(stack.history_dir, name), keep)
    }
    used = {row["ImageID"] for row in docker.api.containers(all=True)}
    rows = docker.api.images(filters={"label": [f"{containers.STACK}={stack.name}", "karst.kind=app"]})
    idle = [row for row in rows if row["Id"] not in used and not wanted.intersection(row.get("RepoTags") or ())]
    if not idle:
        return []
    own = {row["Id"]: row["Size"] - max(row.get("SharedSize", 0), 0) for row in docker.api.df().get("Images") or ()}
    found = []
    for row in idle:
        tags = [tag for tag in row.get("RepoTags") or () if tag != "<none>:<none>"]
        found += [Removal("image", tag, own.get(row["Id"], 0) if tag == tags[0] else 0) for tag in sorted(tags)]
        if not tags:
            found.append(Removal("image", row["Id"], own.get(row["Id"], 0)))
    return sorted(found, key=lambda one: one.name)


def caches(stacks: Path, keep: int, seconds: float) -> list[Removal]:
    """Cache entries that were not used for ``seconds``, and that no retained generation of a stack below ``stacks`` was
    made of. The cache is shared by all stacks of the user.
    """
    needed = {
        place
        for folder in stacks.glob("*/history")
        for name in generations.services(folder)
        for one in retained(generations.read(folder, name), keep)
        for place in (one.source, Path(one.rendered.get("context", "")))
    }
    return _sized(_stale(needed, time.time() - seconds))


def remove(found: Iterable[Removal], docker: Any) -> list[Removal]:
    """Remove them; return those that could be. One that somebody has begun to use meanwhile stays."""
    import docker.errors as errors

    done = []
    for one in found:
        try:
            if one.kind == "image":
                docker.api.remove_image(one.name)
            elif one.kind == "source":
                store.remove(Path(one.name))
            elif one.kind == "build":
                shutil.rmtree(one.name)
            else:
                Path(one.name).unlink()
        except (errors.APIError, OSError):
            continue
        done.append(one)
    return done


def _stale(needed: Collection[Path], before: float) -> Iterator[tuple[str, Path]]:
    """(kind, path), contexts and sources before the byte code that is linked into them."""
    keeping = set(needed).union(*(path.parents for path in needed)) if needed else set()
    for root in store.unused(before):
        if root not in keeping:
            yield "source", root
    for context in _listed(cache_dir() / "build"):
        if context not in keeping and _older(context, before):
            yield "build", context
    for kind in ("render", "detect"):
        for path in _listed(cache_dir() / kind):
            if _older(path, before):
                yield kind, path
    for folder in _listed(cache_dir() / "pyc"):
        for path in _listed(folder):
            if _older(path, before):
                yield "bytecode", path


def _sized(stale: Iterable[tuple[str, Path]]) -> list[Removal]:
    """With the bytes that each frees. A file with several names is freed with the last of them, and byte code that
    a staying context is linked to stays.
    """
    names: dict[tuple[int, int], int] = {}
    found = []
    for kind, path in stale:
        size = 0
        files = [path] if kind in ("render", "detect", "bytecode") else list(_files(path))
        free = False
        for file in files:
            with contextlib.suppress(OSError):
                info = file.lstat()
                key = (info.st_dev, info.st_ino)
                names[key] = names.get(key, 0) + 1
                free = names[key] == info.st_nlink
                size += info.st_size if free else 0
        if free or kind != "bytecode":
            found.append(Removal(kind, str(path), size))
    return found


def _files(folder: Path) -> Iterator[Path]:
    for here, _, names in os.walk(folder):
        yield from (Path(here, name) for name in names)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except OSError:
        return False
