"""A run on the disk: a folder with run.json, the list, the event file, stderr and the lock. All 0600, for one user."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from karst.files import disk_errors, write_atomic

_ID = re.compile(r"[0-9]{8}t[0-9]{12}-[0-9a-f]{8}")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """Sorts by time, cannot be guessed, is a safe file name and needs no escaping in a URL."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S%f}-{secrets.token_hex(4)}"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Run:
    """What is known about a run.

    Attributes:
        state: ``running``, ``cancelling`` or ``finished``.
        outcome: the result's word once finished: ok, failed, unhealthy, busy, interrupted, unknown; else "".
        key: hash of subject and Idempotency-Key, or "".
        request: hash of the request that made it.
    """

    id: str
    kind: str
    by: str
    by_name: str
    started: str
    slugs: tuple[str, ...]
    state: str = "running"
    outcome: str = ""
    exit_code: int | None = None
    finished: str = ""
    pid: int = 0
    cancelled_by: str = ""
    key: str = ""
    request: str = ""
    services: tuple[dict[str, Any], ...] = field(default_factory=tuple)

    @property
    def done(self) -> bool:
        return self.state == "finished"

    def public(self) -> dict[str, Any]:
        """What the API shows."""
        shown = {"id", "kind", "by", "by_name", "started", "slugs", "state"}
        optional = {"outcome", "exit_code", "finished", "cancelled_by", "services"}
        data = asdict(self)
        return {key: data[key] for key in data if key in shown or (key in optional and data[key] not in ("", None, ()))}


class Folder:
    """The folder that holds all runs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def of(self, run_id: str) -> Path:
        return self.root / run_id

    def events(self, run_id: str) -> Path:
        return self.of(run_id) / "events.ndjson"

    def stderr(self, run_id: str) -> Path:
        return self.of(run_id) / "stderr.log"

    def lock(self, run_id: str) -> Path:
        return self.of(run_id) / "lock"

    def slugs(self, run_id: str) -> Path:
        return self.of(run_id) / "repos.json"

    def save(self, run: Run) -> None:
        folder = self.of(run.id)
        with disk_errors(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        write_atomic(folder / "run.json", json.dumps(asdict(run), indent=1) + "\n", mode=0o600)

    def load(self) -> list[Run]:
        """All runs, oldest first; folders without a readable record (a crash before the first write) are left out."""
        runs = []
        for folder in sorted(self.root.iterdir()):
            if is_id(folder.name) and (run := _read(folder / "run.json", folder.name)):
                runs.append(run)
        return runs

    def remove(self, run_id: str) -> None:
        shutil.rmtree(self.of(run_id), ignore_errors=True)


def _read(path: Path, run_id: str) -> Run | None:
    try:
        data = json.loads(path.read_text())
        run = Run(**{**data, "slugs": tuple(data["slugs"]), "services": tuple(data["services"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return run if run.id == run_id else None


def finish(run: Run, outcome: str, exit_code: int | None, services: list[dict[str, Any]]) -> Run:
    return replace(
        run, state="finished", outcome=outcome, exit_code=exit_code, finished=now(), services=tuple(services)
    )
