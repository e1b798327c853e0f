"""Fetching: from services with slugs to folders in the cache, all at once.

``fetch_all`` is what the external of the same name, ``iac update`` and ``iac detect`` use. Nothing here runs code of a
repository, and with a lock file and a warm cache nothing here needs the network.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karst.errors import Exit, KarstError, UsageError
from karst.fetch.limits import Budget, Limits
from karst.lockfile import Locked
from karst.manifest import Service, load_file, parse_entry, parse_list
from karst.slug import Slug, parse

if TYPE_CHECKING:
    from karst.fetch.store import Checkout

_THREADS = 8


@dataclass(frozen=True)
class Fetched:
    """One service with its source.

    Attributes:
        service: the entry of the list.
        ref: full name of the ref, the commit itself, or "" for ``dir:``.
        revision: commit id, or ``dir-`` and 12 digits of the tree hash.
        source: the project's folder in the cache; never written to.
        tree: hash of ``source``.
        whole_tree: hash of the whole checkout (another one when the service has a ``path``).
        repository_url: the repository's page, or "".
        commit_time: of the commit, RFC 3339, or "".
        missing: what the repository has and the source lacks, one sentence each.
        partial: True when that may be had another time.
    """

    service: Service
    ref: str
    revision: str
    source: Path
    tree: str
    whole_tree: str
    repository_url: str
    commit_time: str = ""
    missing: tuple[str, ...] = ()
    partial: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the service's keys and these."""
        return {
            **self.service.to_dict(),
            "ref": self.ref,
            "revision": self.revision,
            "source": str(self.source),
            "tree": self.tree,
            "whole_tree": self.whole_tree,
            "repository_url": self.repository_url,
            "commit_time": self.commit_time,
            "missing": list(self.missing),
        }


@dataclass(frozen=True)
class Change:
    """What an update did to one service: commits before (or "") and after."""

    name: str
    before: str
    after: str
    ref: str


def fetch_each(
    services: Sequence[Service], base_dir: Path, locked: Mapping[str, Locked] | None = None
) -> dict[str, Fetched | KarstError]:
    """Fetch every service, several at a time; a failing one is in the result as its error and stops no other.

    ``locked`` are entries of a lock file; one counts while its service has the same slug.
    """
    limits = Limits.from_env()
    cancelled = threading.Event()

    def one(job: tuple[str, Locked | None]) -> _Found | KarstError:
        try:
            return _obtain(parse(job[0]), base_dir, job[1], Budget(limits, cancelled))
        except KarstError as err:
            return err

    jobs: dict[str, tuple[str, Locked | None]] = {}
    for service in services:  # services of one repository share one fetch when they want the same commit of it
        entry = (locked or {}).get(service.name)
        jobs[service.name] = (service.slug, entry if entry and entry.slug == service.slug else None)
    distinct = list(dict.fromkeys(jobs.values()))
    pool = ThreadPoolExecutor(max_workers=min(_THREADS, max(1, len(distinct))), thread_name_prefix="fetch")
    try:
        found = dict(zip(distinct, pool.map(one, distinct), strict=True))
    except BaseException:
        cancelled.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return {service.name: _narrowed(service, found[jobs[service.name]]) for service in services}


def fetch_all(
    services: Sequence[Service],
    base_dir: Path,
    lock_file: Path | None = None,
    *,
    update: Collection[str] = (),
    prune: bool = True,
    held: Collection[str] = (),
) -> dict[str, Fetched]:
    """Fetch every service and keep the lock file; KarstError with one sentence for each that failed.

    Services named in ``update`` are resolved anew, those in ``held`` are left out and keep their entries. The lock file
    changes only when all others were fetched; ``prune`` then removes the entries of services not in ``services``.
    """
    from karst import lockfile

    entries = {n: e for n, e in (lockfile.read(lock_file) if lock_file else {}).items() if n not in update}
    back = {s.name: entries[s.name] for s in services if rolled_back(s, entries.get(s.name))}
    wanted = [_of_then(s, back.get(s.name), base_dir) for s in services if s.name not in held]
    results = fetch_each(
        wanted, base_dir, entries | {s.name: replace(back[s.name], slug=s.slug) for s in wanted if s.name in back}
    )
    failed = {name: result for name, result in results.items() if isinstance(result, KarstError)}
    if failed:
        raise together(failed, len(services))
    fetched = {name: result for name, result in results.items() if isinstance(result, Fetched)}
    if lock_file:
        new = {
            name: Locked(one.service.slug, one.ref, one.revision, one.whole_tree, one.partial)
            for name, one in fetched.items()
            if not one.service.parsed.is_local
        } | back
        lockfile.save(lock_file, new, keep={*new, *held} if prune else None)
    return fetched


def rolled_back(service: Service, entry: Locked | None) -> bool:
    """Whether the lock file has the service at an earlier generation; another slug in the list ends that."""
    return entry is not None and bool(entry.rollback) and entry.slug == service.slug


def _of_then(service: Service, entry: Locked | None, base_dir: Path) -> Service:
    """The service as its rollback has it."""
    if entry is None:
        return service
    return parse_entry(json.loads(entry.entry) | {"name": service.name}, base_dir, where="the lock file")


def update(services: Sequence[Service], base_dir: Path, lock_file: Path, name: str | None = None) -> list[Change]:
    """Resolve all services anew, or the one of that name, and return what moved; UsageError for an unknown name.

    With a name no other service is fetched, so that none of them can be in the way.

    A service that was rolled back stays where it is, unless it is named.
    """
    from karst import lockfile
    from karst.errors import did_you_mean

    names = [service.name for service in services]
    if name is not None and name not in names:
        hint = did_you_mean(name, names) or f"the list has {', '.join(names)}"
        raise UsageError(f"there is no service `{name}` in the list", hint=hint, code="unknown_service")
    before = lockfile.read(lock_file)
    staying = {service.name for service in services if rolled_back(service, before.get(service.name))}
    moving = [n for n in names if n not in staying] if name is None else [name]
    others = [] if name is None else [n for n in names if n != name]
    fetched = fetch_all(services, base_dir, lock_file, update=moving, held=others)
    was = {key: entry.revision for key, entry in before.items()}
    return [
        Change(key, was.get(key, ""), one.revision, one.ref)
        for key, one in sorted(fetched.items())
        if was.get(key, "" if one.ref else one.revision) != one.revision
    ]


def together(failed: Mapping[str, KarstError], total: int) -> KarstError:
    """One error for several services: a sentence each, so that one run shows everything there is to mend."""
    if len(failed) == 1:
        ((name, err),) = failed.items()
        whole = KarstError(f"{name}: {err.message}", hint=err.hint, code=err.code, exit_code=err.exit_code)
        whole.parts = dict(failed)
        return whole
    lines = [
        f"{name}: {err.message}" + (f" (hint: {err.hint})" if err.hint else "") for name, err in sorted(failed.items())
    ]
    usage = all(err.exit_code == Exit.USAGE for err in failed.values())
    whole = KarstError(
        f"{len(failed)} of {total} services could not be fetched\n  " + "\n  ".join(lines),
        code="fetch_failed",
        exit_code=Exit.USAGE if usage else Exit.FAILED,
    )
    whole.parts = dict(failed)
    return whole


def handle(query: dict[str, str]) -> dict[str, str]:
    """The ``external`` program: slugs and base_dir, or slugs_file; lock_file, held_file → services (JSON by name)."""
    from karst import generations
    from karst.external import json_field

    base_dir = Path(query.get("base_dir") or ".").absolute()
    if list_file := query.get("slugs_file"):
        base_dir = Path(list_file).absolute().parent
        services = load_file(Path(list_file))
    else:
        services = parse_list(json_field(query, "slugs"), base_dir, where="slugs")
    lock_file = query.get("lock_file", "")
    held = generations.read_held(Path(query["held_file"])) if query.get("held_file") else {}
    fetched = fetch_all(services, base_dir, Path(lock_file).absolute() if lock_file else None, held=held)
    answer = {name: one.to_dict() for name, one in fetched.items()}
    answer |= {name: entry for name, entry in held.items() if entry is not None}
    return {"services": json.dumps(answer, sort_keys=True)}


@dataclass(frozen=True)
class _Found:
    ref: str
    revision: str
    checkout: Checkout
    url: str


def _obtain(slug: Slug, base_dir: Path, locked: Locked | None, budget: Budget) -> _Found:
    from karst.fetch import repository, snapshot

    if slug.is_local:
        folder = snapshot.recall(slug, locked.tree) if locked else snapshot.obtain(slug, base_dir, budget)
        return _Found("", f"dir-{folder.tree[:12]}", folder, "")
    if locked and slug.is_commit and locked.revision != slug.ref:
        locked = None  # an entry edited by hand: the slug's own commit wins
    found = repository.obtain(slug, locked, budget)
    return _Found(found.ref, found.revision, found.checkout, found.url)


def _narrowed(service: Service, found: _Found | KarstError) -> Fetched | KarstError:
    from karst.fetch import store

    if isinstance(found, KarstError):
        return found
    checkout = found.checkout
    source, tree = checkout.root, checkout.tree
    if service.path:
        try:
            source = _narrow(checkout.root, service.path, service.slug)
            tree = store.subtree(checkout, service.path)
        except KarstError as err:
            return err
    when = datetime.fromtimestamp(checkout.commit_time, UTC).isoformat() if checkout.commit_time else ""
    return Fetched(
        service,
        found.ref,
        found.revision,
        source,
        tree,
        checkout.tree,
        found.url,
        when,
        checkout.missing,
        checkout.partial,
    )


def _narrow(root: Path, path: str, slug: str) -> Path:
    """The subfolder; KarstError (``no_path``) that lists the folders there are at the first step that is wrong."""
    here = root
    for part in path.split("/"):
        following = here / part
        if not following.is_dir() or not following.resolve().is_relative_to(root.resolve()):
            folders = sorted(e.name for e in os.scandir(here) if e.is_dir() and not e.name.startswith("."))
            inside = f"`{here.relative_to(root)}` of it" if here != root else "it"
            listed = ", ".join(folders[:20]) + (", …" if len(folders) > 20 else "")
            raise KarstError(
                f"{slug} has no folder `{path}`",
                hint=f"the folders in {inside} are {listed}" if folders else f"there are no folders in {inside}",
                code="no_path",
            )
        here = following
    return root / here.resolve().relative_to(root.resolve())  # a link among the parts is followed
