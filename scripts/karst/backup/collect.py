"""What a backup holds, as a tar archive.

about.json           which stack, when, its settings, what it ran; paths as `places` writes them
state.json           Terraform's state
list, lock           the list and its lock file
secrets/…            authority, identities, operator, app secrets
stack/…              settings and histories of the stack's folder
sources/…            the cached checkout of each service's present generation, so that no git host is needed
folders/<service>/…  the folder behind a `dir:` slug, as it was deployed
dotenv               .env of the checkout
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from karst import generations, state
from karst.backup.places import Places
from karst.errors import UsageError
from karst.files import cache_dir
from karst.lockfile import lock_path
from karst.manifest import load_file
from karst.stack import ROOT, Stack

#: Locks between processes: empty, and nobody's to restore.
_LOCKS = frozenset({".lock", ".rotation.lock"})


@dataclass
class Collected:
    """The archive, and what it says of itself."""

    archive: bytes
    about: Mapping[str, Any] = field(default_factory=dict)


def collect(stack: Stack) -> Collected:
    """Gather everything; UsageError when the stack has nothing to gather. The caller holds the stack."""
    text = state.pull(stack)
    if not text and not stack.secrets_dir.is_dir():
        raise UsageError(f"stack `{stack.name}` has neither a state nor identities: there is nothing to back up")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        about = _about(stack)
        _text(archive, "about.json", json.dumps(about, indent=2, sort_keys=True))
        if text:
            _text(archive, "state.json", text)
        for name, path in (("list", stack.list_file), ("lock", lock_path(stack.list_file)), ("dotenv", ROOT / ".env")):
            if path.is_file():
                archive.add(path, name)
        if stack.secrets_dir.is_dir():
            archive.add(stack.secrets_dir, "secrets", filter=lambda e: None if Path(e.name).name in _LOCKS else e)
        for path in [stack.variables_file, stack.env_file, *sorted(stack.history_dir.glob("*.jsonl"))]:
            if path.is_file():
                archive.add(path, f"stack/{path.relative_to(stack.home)}")
        for name, checkout in _sources(stack):
            archive.add(checkout, f"sources/{checkout.relative_to(cache_dir() / 'src')}")
            meta = checkout.with_name(f"{checkout.name}.json")
            archive.add(meta, f"sources/{meta.relative_to(cache_dir() / 'src')}")
            if name in about["folders"]:
                archive.add(checkout, f"folders/{name}")
    return Collected(buffer.getvalue(), about)


def _about(stack: Stack) -> dict[str, Any]:
    places = Places(stack.home)
    folders = {}
    if stack.list_file.is_file():
        base = stack.list_file.parent
        local = [one for one in load_file(stack.list_file) if one.parsed.is_local]
        folders = {one.name: places.written((base / Path(one.parsed.path).expanduser()).absolute()) for one in local}
    return {
        "version": 1,
        "stack": stack.name,
        "env": stack.env,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "list_file": places.written(stack.list_file),
        "secrets_dir": places.written(stack.secrets_dir),
        "folders": folders,
        "services": {name: made.revision for name, made in _present(stack).items()},
    }


def _present(stack: Stack) -> dict[str, generations.Generation]:
    found = {}
    for name in generations.services(stack.history_dir):
        good = generations.last_good(generations.read(stack.history_dir, name))
        if good is not None:
            found[name] = good
    return found


def _sources(stack: Stack) -> Iterator[tuple[str, Path]]:
    """(service, checkout in the cache) of each present generation whose checkout is still there."""
    top = cache_dir() / "src"
    for name, made in _present(stack).items():
        for folder in (made.source, *made.source.parents):  # the project may be a subfolder of the checkout
            if top in folder.parents and folder.with_name(f"{folder.name}.json").is_file():
                yield name, folder
                break


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    body = text.encode()
    entry.size, entry.mode = len(body), 0o600
    archive.addfile(entry, io.BytesIO(body))
