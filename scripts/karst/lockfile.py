"""The lock file beside the list: which commit each service's ref meant when it was last resolved.

``repos.yaml`` has ``repos.lock.yaml``. It is written in one fixed form, so that equal content is equal bytes, and only
when something changed. An entry counts only while its service has the same slug.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from karst.errors import KarstError, UsageError
from karst.files import cache_dir, locked, write_atomic
from karst.slug import is_full_sha

_TREE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SNAPSHOT = re.compile(r"dir-[0-9a-f]{12}", re.ASCII)
_HEADER = """\
# Made by KarstKit: the commit that each service of the list runs. Made to be committed.
# `iac update [SERVICE]` moves it on; a ref that is not in here is resolved at the next plan.
"""


@dataclass(frozen=True)
class Locked:
    """What one service is locked to.

    Attributes:
        slug: the slug it was resolved from; another slug makes the entry void.
        ref: full name of the ref (``refs/tags/v1``), or the commit itself.
        revision: commit id.
        tree: hash of the checkout's whole tree.
        partial: True when a submodule or LFS content could not be had then; a whole tree is accepted instead.
        rollback: the generation that `iac rollback` went back to, or ""; only then a `dir:` slug has an entry, and its
            revision is ``dir-…``.
        entry: with it, the entry of the list that made that generation, as JSON.
    """

    slug: str
    ref: str
    revision: str
    tree: str
    partial: bool = False
    rollback: str = ""
    entry: str = ""


def lock_path(list_path: Path) -> Path:
    """``repos.yaml`` → ``repos.lock.yaml``, ``x.json`` → ``x.lock.yaml``, ``x.tfvars`` → ``x.lock.yaml``."""
    name = re.sub(r"\.(ya?ml|json|tfvars|tfvars\.json)$", "", list_path.name)
    return list_path.with_name(f"{name}.lock.yaml")


def read(path: Path) -> dict[str, Locked]:
    """The entries of the lock file; none when it is absent. UsageError (``bad_lock``) when it cannot be understood."""
    from karst.listfile import parse_yaml, read_text

    if not path.exists():
        return {}
    try:
        data = parse_yaml(read_text(path), path.name)
    except UsageError as err:
        raise _bad(path, err.message) from None
    if data is None:
        return {}
    services = data.get("services") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("version") != 1 or not isinstance(services, dict):
        raise _bad(path, f"{path.name} is not a lock file of version 1")
    return {str(name): _entry(path, str(name), value) for name, value in services.items()}


def _entry(path: Path, name: str, value: object) -> Locked:
    texts = value if isinstance(value, dict) else {}
    slug, ref, revision, tree = (texts.get(key) for key in ("slug", "ref", "revision", "tree"))
    if not (isinstance(slug, str) and isinstance(ref, str) and isinstance(revision, str) and isinstance(tree, str)):
        raise _bad(path, f"`{name}` in {path.name} lacks slug, ref, revision or tree")
    rollback, entry = texts.get("rollback", ""), texts.get("entry", {})
    if not isinstance(rollback, str) or not isinstance(entry, dict) or bool(rollback) != bool(entry):
        raise _bad(path, f"`{name}` in {path.name} has a rollback without its entry, or the reverse")
    snapshot = rollback and _SNAPSHOT.fullmatch(revision)
    if not (is_full_sha(revision) or snapshot) or not _TREE.fullmatch(tree):
        raise _bad(path, f"`{name}` in {path.name} has a revision or tree that is no whole hash")
    text = json.dumps(entry, sort_keys=True) if entry else ""
    return Locked(slug, ref, revision, tree, texts.get("partial") is True, rollback, text)


def _bad(path: Path, message: str) -> UsageError:
    return UsageError(
        message,
        hint=f"restore {path.name} from git, or delete it: the next plan resolves every ref anew",
        code="bad_lock",
    )


def render(entries: Mapping[str, Locked]) -> str:
    """The file's text: sorted, every value quoted (a commit such as 1e10… would otherwise be a number)."""
    lines = [_HEADER, "version: 1\n", "services:\n" if entries else "services: {}\n"]
    for name, entry in sorted(entries.items()):
        lines.append(f"  {json.dumps(name)}:\n")
        for key in ("slug", "ref", "revision", "tree"):
            lines.append(f"    {key}: {json.dumps(getattr(entry, key))}\n")
        if entry.partial:
            lines.append("    partial: true\n")
        if entry.rollback:
            lines.append(f"    rollback: {json.dumps(entry.rollback)}\n    entry: {entry.entry}\n")
    return "".join(lines)


def save(path: Path, entries: Mapping[str, Locked], *, keep: Collection[str] | None = None) -> bool:
    """Merge ``entries`` into the file and return whether it changed.

    ``keep`` names the services of the list: the entries of all others are removed. None removes nothing. Two commands
    at once are put in a row by a lock in the cache, so that neither loses what the other wrote.
    """
    if not entries and not path.exists():
        return False
    token = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:24]
    with locked(cache_dir() / "locks" / f"lock-{token}"):
        before = read(path)
        after = {name: entry for name, entry in before.items() if keep is None or name in keep} | dict(entries)
        if after == before and path.exists():
            return False
        try:
            write_atomic(path, render(after))
        except KarstError as err:
            if err.code != "not_writable":
                raise
            hint = 'make the folder writable, or run without a lock (lock_file = "")'
            raise KarstError(err.message, hint=hint, code=err.code) from err
    return True
