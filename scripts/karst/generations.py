"""The history of a stack's services: every generation that was tried, with all that made it, and what the gate said.

One file of JSON lines a service, oldest first, in the stack's own folder; lines are only ever added. It survives a
destroy, which is a line itself. The last generation that the gate let through is what a service is held at, and the
ones before it are what a rollback goes back to.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from karst.errors import KarstError, UsageError
from karst.files import disk_errors, write_atomic
from karst.lockfile import Locked
from karst.manifest import Service

#: The variable by which the admin app says who wants a run: a name or subject, never a token.
CALLER = "KARST_CALLER"
OK, FAILED, REMOVED = "ok", "failed", "removed"
_PINNED = "pinned"  # what fetch adds for detect and render, and no part of what made the generation


@dataclass(frozen=True)
class Generation:
    """One line of a service's history.

    Attributes:
        service: its name.
        at: when, RFC 3339 in UTC.
        outcome: ``ok`` (the gate let it through), ``failed`` (it did not), ``removed`` (the service was taken down).
        generation: hash of everything that its pod is made of, "" for ``removed``.
        revision: commit, or ``dir-…``.
        image: tag of its image.
        run: the command that did it: deploy, apply, rollback, destroy.
        by: the user who ran it, or the admin app's caller who asked for it.
        fetched, detection, rendered: what the three helper scripts answered.
    """

    service: str
    at: str
    outcome: str
    generation: str = ""
    revision: str = ""
    image: str = ""
    run: str = ""
    by: str = ""
    fetched: Mapping[str, Any] = field(default_factory=dict)
    detection: Mapping[str, Any] = field(default_factory=dict)
    rendered: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> tuple[str, str, str]:
        """What a service was, whichever version of the kit ran it: entry of the list, revision, image."""
        return (json.dumps(self.entry, sort_keys=True), self.revision, self.image)

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the list that made it."""
        return Service.from_dict(self.fetched).to_entry()

    @property
    def source(self) -> Path:
        """The folder in the cache that the image was built from."""
        return Path(str(self.fetched.get("source", "")))

    def pin(self, *, built: bool) -> dict[str, Any]:
        """What fetch answers for a service held at this generation.

        ``built``: its image is there, so that detect and render answer as they did then and nothing is built. Without,
        both look at the source again.
        """
        if not built:
            return dict(self.fetched)
        image = {**self.rendered, "built": True}
        return {**self.fetched, _PINNED: {"detection": dict(self.detection), "image": image}}


def read(folder: Path, service: str) -> list[Generation]:
    """The history of one service, oldest first; none when there is no file. A torn last line is left out."""
    try:
        lines = (folder / f"{service}.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            found.append(Generation(**json.loads(line)))
    return found


def services(folder: Path) -> list[str]:
    """The services that have a history."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


def append(folder: Path, generation: Generation) -> None:
    """Add one line, on the disk before this returns."""
    path = folder / f"{generation.service}.jsonl"
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            os.write(fd, (b"\n" if torn else b"") + json.dumps(asdict(generation), sort_keys=True).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)


def last_good(history: Iterable[Generation]) -> Generation | None:
    """The last generation that was let through, unless the service was taken down after it."""
    good = None
    for one in history:
        if one.outcome != FAILED:
            good = one if one.outcome == OK else None
    return good


def distinct(history: Iterable[Generation]) -> list[Generation]:
    """The generations that were let through, newest first, one of each content: what a rollback can choose from.

    One that came back by a rollback counts from when it was first there, so that a second rollback goes further back.
    """
    first: dict[tuple[str, str, str], Generation] = {}
    for one in history:
        if one.outcome == OK:
            first.setdefault(one.content, one)
    return list(reversed(first.values()))


def find(history: Iterable[Generation], locked: Locked) -> Generation | None:
    """The generation that an entry of the lock file was rolled back to."""
    same = (g for g in history if g.outcome == OK and g.generation == locked.rollback)
    return next((g for g in same if json.dumps(g.entry, sort_keys=True) == locked.entry), None)


def from_plan(plan: Mapping[str, Any], *, run: str) -> dict[str, Generation]:
    """The generation of each service that a plan (Terraform's JSON) leads to."""
    answers = {name: _answer(plan, name) for name in ("fetch", "detect", "render")}
    outputs = plan.get("planned_values", {}).get("outputs", {}).get("services", {}).get("value") or {}
    found = {}
    for name, fetched in answers["fetch"].items():
        rendered = {key: value for key, value in answers["render"].get(name, {}).items() if key != "built"}
        found[name] = Generation(
            service=name,
            at=now(),
            outcome=OK,
            generation=outputs.get(name, {}).get("generation", ""),
            revision=fetched.get("revision", ""),
            image=rendered.get("tag", ""),
            run=run,
            by=user(),
            fetched={key: value for key, value in fetched.items() if key != _PINNED},
            detection=answers["detect"].get(name, {}),
            rendered=rendered,
        )
    return found


def _answer(plan: Mapping[str, Any], program: str) -> dict[str, Any]:
    """What a helper script answered in this plan, by service."""
    for module in plan.get("prior_state", {}).get("values", {}).get("root_module", {}).get("child_modules", []):
        for resource in module.get("resources", []):
            if resource.get("type") == "external" and resource.get("name") == program:
                answer = json.loads(resource["values"]["result"]["services"])
                return answer if isinstance(answer, dict) else {}
    return {}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def user() -> str:
    """Who runs this: the admin app's caller, when it comes from there; a uid without a name is its number.

    A name is told as letters, digits and ``@ . _ + : -``, 80 at most: it comes from a token and is shown in terminals.
    """
    if caller := os.environ.get(CALLER, ""):
        return re.sub(r"[^A-Za-z0-9@._+:-]", "?", caller)[:80]
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def write_held(path: Path, held: Mapping[str, Mapping[str, Any] | None]) -> None:
    """The file behind the variable ``held_file``: what fetch answers for each service, null for one left out."""
    write_atomic(path, json.dumps({"version": 1, "services": held}, sort_keys=True) + "\n", mode=0o600)


def read_held(path: Path) -> dict[str, dict[str, Any] | None]:
    """The inverse; UsageError when it is no such file, KarstError when it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise KarstError(f"cannot read held_file {path}: {err.strerror}", code="bad_held") from None
    except (ValueError, RecursionError):
        data = None
    held = data.get("services") if isinstance(data, dict) and data.get("version") == 1 else None
    if not isinstance(held, dict) or not all(one is None or isinstance(one, dict) for one in held.values()):
        raise UsageError(
            f"{path} is no file of held services",
            hint='`iac deploy` writes it; held_file = "" is none',
            code="bad_held",
        )
    return held
