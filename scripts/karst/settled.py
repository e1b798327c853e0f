"""What the last successful deploy was made of and what it left, so that the next one can see that nothing changed.

A deploy with nothing to do costs Terraform seconds of refreshing. This answers the same question with hashes and one
call to the engine; where only the inputs have changed, it spares the plan the refreshing. It must never skip a change
that is needed: whatever it cannot vouch for means "plan".

Three parts are compared: the inputs (kit, settings, list, local folders, values of secrets, environment), taken before
the plan, so that an edit during the deploy counts as one; the lock file, as the plan left it; and what the deploy left
(identities, state, histories, Prometheus' file, containers). Branches do not move: the lock file pins them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from karst import containers, discovery
from karst.errors import KarstError
from karst.files import write_atomic
from karst.generations import CALLER
from karst.identity import sources
from karst.lockfile import lock_path
from karst.stack import ROOT, Stack

VERSION = 1
_ENVIRONMENT = ("KARST_", "TF_", "DOCKER_", "OTEL_", "STEP_", "ENTRYPOINT")
_KIT = ("modules", "scripts", "envs/local")
_KIT_FILES = (".tf", ".tfvars", ".tfvars.json", ".hcl")


@dataclass
class Settled:
    """The note of one successful deploy; hashes are keyed with ``key``, so that no secret can be guessed from them.

    Attributes:
        inputs, lock, left: the three parts.
        folders: local folders of the list, absolute.
        names: environment variables that the list hands over as secrets.
        due: seconds since the epoch at which the first identity is to be renewed.
        services: names, for the event stream.
    """

    key: str
    inputs: str
    lock: str
    left: str
    folders: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    due: float = 0.0
    services: list[str] = field(default_factory=list)
    version: int = VERSION


class Inputs:
    """Taken before a plan; ``record`` writes the note when the deploy has succeeded."""

    def __init__(self, stack: Stack, folders: Sequence[str], names: Sequence[str]) -> None:
        self.stack = stack
        self.key = secrets.token_hex(16)
        self.folders, self.names = list(folders), list(names)
        self.inputs = _inputs(stack, self.key, folders, names)
        self.lock = ""

    @classmethod
    def take(cls, stack: Stack) -> Inputs | None:
        """None when the list cannot be read: the plan will say why."""
        from karst.manifest import load_file

        try:
            services = load_file(stack.list_file)
            base = stack.list_file.parent
            local = [service.parsed for service in services if service.parsed.is_local]
            folders = sorted({str((base / Path(slug.path).expanduser()).absolute()) for slug in local})
            return cls(stack, folders, sorted({name for service in services for name in service.secrets}))
        except (KarstError, OSError):
            return None

    def planned(self) -> None:
        """After the plan: the lock file is what the plan made of it."""
        self.lock = _file_hash(self.key, lock_path(self.stack.list_file))

    def record(self, revisions: Mapping[str, str]) -> bool:
        """Write the note, unless something is not settled; ``revisions`` are those that the plan deployed."""
        from karst import lockfile

        entries = lockfile.read(lock_path(self.stack.list_file))
        told = all(name not in entries or entries[name].revision == revision for name, revision in revisions.items())
        if not told or any(entry.partial for entry in entries.values()):
            return False
        rows = _rows(self.stack)
        left = _left(self.stack, self.key, rows) if rows else ""
        if not left:
            return False
        due = _due(self.stack.secrets_dir)
        note = Settled(self.key, self.inputs, self.lock, left, self.folders, self.names, due, sorted(revisions))
        write_atomic(_path(self.stack), json.dumps(asdict(note)), mode=0o600)
        return True


def forget(stack: Stack) -> None:
    """Before anything is changed: from now on the note would be of another time."""
    _path(stack).unlink(missing_ok=True)


def unchanged(stack: Stack) -> tuple[list[str], list[containers.Member]] | None:
    """Names of the services and their containers when a deploy would change nothing; None when that is not certain."""
    note = _note(stack)
    if note is None or time.time() >= note.due:
        return None
    try:
        if _inputs(stack, note.key, note.folders, note.names) != note.inputs:
            return None
        if _file_hash(note.key, lock_path(stack.list_file)) != note.lock:
            return None
        rows = _rows(stack)
        if _left(stack, note.key, rows) != note.left:
            return None
    except (OSError, KarstError):
        return None
    return note.services, [containers.member(row) for row in rows]


def as_left(stack: Stack) -> bool:
    """Whether the engine has exactly what the last deploy left, whatever the list says now.

    Then Terraform need not read every container and image again to plan: its state says the same. What this does not
    see is what `docker update` changes: limits and the restart policy.
    """
    note = _note(stack)
    if note is None:
        return False
    try:
        return _left(stack, note.key, _rows(stack)) == note.left and _images_as_recorded(stack)
    except (OSError, KarstError, ValueError, KeyError, TypeError):
        return False


def _note(stack: Stack) -> Settled | None:
    """The last deploy's; None when there is none that counts."""
    if stack.remote_state:  # somebody may have deployed from another machine
        return None
    try:
        note = Settled(**json.loads(_path(stack).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return None if note.version != VERSION or stack.unfinished_file.exists() else note


def _images_as_recorded(stack: Stack) -> bool:
    """Whether each image of the state is there, as the one of that name: what the provider looks at."""
    from karst.engine_list import image_ids

    there = image_ids()
    state = json.loads(stack.state_file.read_text())
    wanted = [
        one["attributes"]
        for resource in state["resources"]
        if resource["type"] == "docker_image"
        for one in resource["instances"]
    ]
    return all(there.get(one["name"]) == one["image_id"] for one in wanted)


def kit_hash() -> str:
    """Hash of the kit's own files. Terraform reads templates anew in an apply: a saved plan holds for one kit alone."""
    return _hash("00", "".join(f"{path.relative_to(ROOT)} {_file_hash('00', path)}" for path in _kit()))


def _path(stack: Stack) -> Path:
    return stack.home / "settled.json"


def _inputs(stack: Stack, key: str, folders: Sequence[str], names: Sequence[str]) -> str:
    environment = {k: v for k, v in os.environ.items() if k.startswith(_ENVIRONMENT) and k != CALLER}
    parts: list[Any] = [
        stack.variables(),
        str(stack.state_file),
        os.geteuid(),
        sorted(environment.items()),
        sorted(sources.find(names, os.environ).items()),
        _file_hash(key, stack.list_file),
        [(folder, _tree(folder)) for folder in folders],
        [_file_hash(key, path) for path in _kit()],
    ]
    return _hash(key, json.dumps(parts, sort_keys=True))


def _tree(folder: str) -> str:
    from karst.fetch.snapshot import tree_of

    return tree_of(Path(folder).resolve())


def _kit() -> Iterable[Path]:
    yield ROOT / "requirements.txt"
    for top in _KIT:
        for here, folders, names in os.walk(ROOT / top):
            folders[:] = sorted(one for one in folders if one not in ("__pycache__", "tests", ".terraform"))
            for name in sorted(names):
                if top != "envs/local" or name.endswith(_KIT_FILES):
                    yield Path(here, name)


def _left(stack: Stack, key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Identities, state, histories, Prometheus' file and containers; "" when a container is not running."""
    if any(row.get("State") != "running" for row in rows):
        return ""
    found = [
        [
            row["Id"],
            row.get("Names"),
            row.get("ImageID"),
            row.get("Labels"),
            (row.get("HostConfig") or {}).get("NetworkMode"),
            sorted((n, one.get("NetworkID")) for n, one in (row["NetworkSettings"]["Networks"] or {}).items()),
            sorted(json.dumps(port, sort_keys=True) for port in row.get("Ports") or []),
        ]
        for row in sorted(rows, key=lambda row: str(row["Id"]))
    ]
    identities = [
        (str(path.relative_to(stack.secrets_dir)), _file_hash(key, path))
        for path in sorted(stack.secrets_dir.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    # What a deploy writes for others: a removed one is written again.
    written = [*sorted(stack.history_dir.glob("*.jsonl")), discovery.file_of(stack)]
    files = [_file_hash(key, path) for path in (stack.state_file, *written)]
    return _hash(key, json.dumps([found, identities, files], sort_keys=True))


def _rows(stack: Stack) -> list[dict[str, Any]]:
    from karst.engine_list import labelled

    return labelled(f"{containers.STACK}={stack.name}")


def _due(secrets_dir: Path) -> float:
    """When the first of the identities has a third of its lifetime left."""
    from cryptography import x509

    times = []
    for path in secrets_dir.rglob("svid.pem"):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        times.append((end - (end - begin) / 3).timestamp())
    return min(times, default=0.0)


def _file_hash(key: str, path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return _hash(key, f"{path} {hashlib.file_digest(handle, 'sha256').hexdigest()}")
    except FileNotFoundError:
        return ""


def _hash(key: str, text: str) -> str:
    return hmac.new(bytes.fromhex(key), text.encode("utf-8", "surrogateescape"), "sha256").hexdigest()
