"""Logs that outlive their container: kept beside the stack's state before a generation goes, read by `iac logs`.

One file a generation: a line of JSON that says what it was and how it ended, then the app's last lines as Docker gives
them, time first. Only the owner can read them; an app may print anything.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from karst.containers import Member, ending
from karst.errors import KarstError
from karst.files import write_atomic

MAX_LINES = 2000
MAX_BYTES = 1024 * 1024
GENERATIONS_PER_SERVICE = 10
# Of a service that is started anew again and again without a change, or has many pods.
FILES_PER_SERVICE = 100
DAYS = 30
#: How OTLP/JSON lines begin; the runner writes them without spaces.
SPANS = '{"resourceSpans":'
# Spans share stdout with what the app prints, and are left out: of so many lines, enough are the app's own.
_ASKED = 20 * MAX_LINES


@dataclass(frozen=True)
class Kept:
    """What is known of a generation whose log was kept.

    Attributes:
        container: id of the app's container.
        created, kept: seconds since the epoch.
        exit_code: how the app ended last; None while it never did.
        reason: one sentence; "" when there is nothing to say.
        cut: whether there were lines before the first one.
    """

    service: str
    revision: str
    generation: str
    container: str
    created: int
    kept: float
    exit_code: int | None
    reason: str
    cut: bool

    @property
    def epitaph(self) -> str:
        """What the generation was and how it ended, in one line."""
        how = "" if self.exit_code is None else f", exit code {self.exit_code}"
        why = f": {self.reason}" if self.reason else ""
        return f"karst: end of generation {self.generation}, revision {self.revision}{how}{why}"


def keep(connection: Any, app: Member, folder: Path | None, *, reason: str = "", exit_code: int | None = None) -> None:
    """Keep the last lines of ``app`` under ``folder``; what was kept of it before is replaced.

    Without a reason or an exit code, Docker's own count for a container that has stopped. Never raises for a full disk
    or a container that is gone: a deploy must not fail for its log. None keeps nothing.
    """
    import docker.errors
    import requests

    if folder is None:
        return
    try:
        state = ending(connection.api.inspect_container(app.id))
        lines, cut = _last_lines(connection, app.id)
        kept = Kept(
            service=app.service,
            revision=app.revision,
            generation=app.generation,
            container=app.id,
            created=app.created,
            kept=time.time(),
            exit_code=state[0] if exit_code is None else exit_code,
            reason=reason or state[1],
            cut=cut,
        )
        path = folder / app.service / f"{app.created:010d}-{app.generation}-{app.id[:12]}.log"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, b"\n".join([json.dumps(asdict(kept)).encode(), *lines]) + b"\n", mode=0o600)
        _prune(folder, path.parent)
    except (KarstError, OSError, docker.errors.DockerException, requests.RequestException) as err:
        print(f"{app.service}: the log of {app.name} could not be kept: {err}", file=sys.stderr)


def read(folder: Path, service: str) -> list[tuple[Kept, Path]]:
    """What was kept of ``service``, oldest generation first; a damaged file counts as none."""
    found = []
    for path in sorted((folder / service).glob("*.log")):
        try:
            with path.open("rb") as handle:
                found.append((Kept(**json.loads(handle.readline())), path))
        except (OSError, ValueError, TypeError):
            continue
    return found


def lines(path: Path) -> Iterator[str]:
    """The lines of a kept log, each beginning with its time."""
    with path.open("rb") as handle:
        handle.readline()
        for line in handle:
            yield line.decode("utf-8", "replace").rstrip("\n")


def services(folder: Path) -> list[str]:
    """The services of which a log is kept, whether they are still deployed or not."""
    return sorted(path.name for path in folder.glob("*") if path.is_dir()) if folder.is_dir() else []


def _last_lines(connection: Any, container: str) -> tuple[list[bytes], bool]:
    """The last lines within the bounds, and whether there were more; read as a stream, whatever the log's size."""
    kept: deque[bytes] = deque()
    size, cut, rest = 0, False, b""
    stream = connection.api.logs(container, stream=True, follow=False, timestamps=True, tail=_ASKED)
    for chunk in (*stream, b"\n"):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if not line or line.partition(b" ")[2].startswith(SPANS.encode()):
                continue
            kept.append(line)
            size += len(line) + 1
            while len(kept) > MAX_LINES or size > MAX_BYTES:
                size -= len(kept.popleft()) + 1
                cut = True
    return list(kept), cut


def _prune(folder: Path, own: Path) -> None:
    """Remove what is too much for the service, and what is too old for any."""
    newest_first = sorted(own.glob("*.log"), reverse=True)
    generations = list(dict.fromkeys(path.name.split("-")[1] for path in newest_first))[:GENERATIONS_PER_SERVICE]
    for number, path in enumerate(newest_first):
        if number >= FILES_PER_SERVICE or path.name.split("-")[1] not in generations:
            path.unlink(missing_ok=True)
    oldest = time.time() - DAYS * 86400
    for path in folder.glob("*/*.log"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
