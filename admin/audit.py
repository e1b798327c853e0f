"""The audit log: who asked for what, and what came of it. JSON lines, appended only, each holding the last one's hash.

A line that was changed, taken out or put in breaks the chain at that place. Lines cut off the end leave a chain that is
whole but shorter than the head file beside it says. It shows tampering; it cannot prevent it: ship the file elsewhere
to keep it from somebody who can write both files.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from karst.errors import KarstError
from karst.files import disk_errors, locked, write_atomic

_START = "0" * 64
_TAIL = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What `verify` found: whether the chain holds, how many records, and the first broken line (0 = none)."""

    ok: bool
    records: int
    line: int = 0
    reason: str = ""


class Audit:
    """One log file; several processes may append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head = head_path(path)
        self._lock = threading.Lock()

    def write(self, action: str, actor: str, outcome: str, **details: Any) -> None:
        """Append one record and wait until it is on the disk. Raises KarstError when it cannot be written."""
        with self._lock, locked(self.path.with_name(self.path.name + ".lock")), disk_errors(self.path):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                number, previous, torn = _tail(fd, self._head)
                record: dict[str, Any] = {
                    **details,
                    "n": number + 1,
                    "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    "action": action,
                    "actor": actor,
                    "outcome": outcome,
                    "prev": previous,
                }
                if torn:
                    # A crash in the middle of a write: the half line stays, and this record vouches for it.
                    record["torn"] = hashlib.sha256(torn).hexdigest()
                record["hash"] = _digest(record)
                line = json.dumps(record, sort_keys=True).encode() + b"\n"
                os.write(fd, (b"\n" if torn else b"") + line)
                os.fsync(fd)
            finally:
                os.close(fd)
            write_atomic(self._head, json.dumps({"n": record["n"], "hash": record["hash"]}) + "\n", mode=0o600)


def head_path(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def verify(path: Path) -> Verdict:
    """Walk the whole log; never raises for what is in it."""
    previous, before, number, line_number, torn = _START, _START, 0, 0, b""
    try:
        with path.open("rb") as handle:
            for line_number, line in enumerate(handle, 1):
                record = _record(line)
                if record is None:
                    if torn:
                        return Verdict(False, number, line_number - 1, "this is not a record")
                    torn = line.rstrip(b"\n")
                    continue
                reason = _wrong(record, number + 1, previous, torn)
                if reason:
                    return Verdict(False, number, line_number - 1 if torn else line_number, reason)
                before, previous, number, torn = previous, record["hash"], record["n"], b""
    except FileNotFoundError:
        pass
    except OSError as err:
        raise KarstError(f"cannot read {path}: {err.strerror}", code="not_readable") from err
    if torn:
        return Verdict(False, number, line_number, "the last line is not a record")
    head = _read_head(head_path(path))
    if head is None and number:
        return Verdict(False, number, 0, f"{head_path(path).name} is missing or not readable")
    # One behind is what a crash between the two writes leaves.
    if head is not None and head not in ((number, previous), (number - 1, before)):
        return Verdict(False, number, line_number, f"the log ends at record {number}, its head says {head[0]}")
    return Verdict(True, number)


def _wrong(record: dict[str, Any], number: int, previous: str, torn: bytes) -> str:
    if record.get("hash") != _digest(record):
        return "this record was changed"
    if record.get("n") != number or record.get("prev") != previous:
        return f"the chain is broken before this record (number {record.get('n')}, expected {number})"
    if record.get("torn", "") != (hashlib.sha256(torn).hexdigest() if torn else ""):
        return "this is not a record"
    return ""


def _digest(record: dict[str, Any]) -> str:
    body = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _record(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("hash"), str) else None


def _tail(fd: int, head: Path) -> tuple[int, str, bytes]:
    """Number and hash of the last record, and the half line after it."""
    size = os.fstat(fd).st_size
    if size == 0:
        return 0, _START, b""
    data = os.pread(fd, _TAIL, max(0, size - _TAIL))
    whole, newline, torn = data.rpartition(b"\n")
    record = _record(whole.rpartition(b"\n")[2] + b"\n") if newline else None
    if record is not None and isinstance(record.get("n"), int):
        return record["n"], record["hash"], torn
    # The end of the log is not ours any more: go on from the head, and let `verify` point at the place.
    number, digest = _read_head(head) or (0, _START)
    return number, digest, torn


def _read_head(path: Path) -> tuple[int, str] | None:
    try:
        head = json.loads(path.read_text())
        return int(head["n"]), str(head["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
