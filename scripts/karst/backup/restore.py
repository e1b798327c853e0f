"""Puts back what a backup holds. Nothing that is there and differs is overwritten unless that is asked for."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst import state
from karst.backup.places import Places
from karst.errors import KarstError, UsageError
from karst.files import cache_dir, write_atomic
from karst.lockfile import lock_path
from karst.stack import ROOT, Stack

PARTS = ("secrets", "list", "state", "history", "sources", "dotenv")


@dataclass(frozen=True)
class Item:
    """One file to put back.

    Attributes:
        part: which of PARTS it belongs to.
        member: its entry in the archive.
        path: where it goes.
    """

    part: str
    member: tarfile.TarInfo
    path: Path


class Backup:
    """An opened backup."""

    def __init__(self, content: bytes, where: str) -> None:
        """Read it; UsageError when it is of a form that this kit does not know."""
        self._archive = tarfile.open(fileobj=io.BytesIO(content), mode="r:gz")  # noqa: SIM115 - as long as this
        self._members = {member.name: member for member in self._archive}
        self.about: dict[str, Any] = json.loads(self._read("about.json"))
        if self.about.get("version") != 1:
            raise UsageError(
                f"{where} is of form {self.about.get('version')}, and this kit reads form 1",
                hint="use the version of the kit that wrote it",
                code="bad_backup",
            )

    def _read(self, name: str) -> bytes:
        part = self._archive.extractfile(self._members[name])
        return part.read() if part else b""

    @property
    def state(self) -> str:
        return self._read("state.json").decode() if "state.json" in self._members else ""

    def list_file(self, stack: Stack) -> Path:
        return Places(stack.home).read(self.about["list_file"])

    def secrets_dir(self, stack: Stack) -> Path:
        return Places(stack.home).read(self.about["secrets_dir"])

    def app_secrets(self) -> dict[str, str]:
        """Variable → value, of all services: what their next deploy asks for."""
        found = {}
        for name, member in self._members.items():
            parts = name.split("/")
            if parts[:2] == ["secrets", "app"] and len(parts) == 4 and member.isfile():
                found[parts[3]] = self._read(name).decode(errors="surrogateescape")
        return found

    def items(self, stack: Stack, parts: Collection[str]) -> list[Item]:
        """Every file of ``parts`` with its place on this machine."""
        return [item for item in self._items(stack) if item.part in parts]

    def _items(self, stack: Stack) -> Iterator[Item]:
        folders = {name: Places(stack.home).read(text) for name, text in self.about["folders"].items()}
        whole = {
            "list": ("list", stack.list_file),
            "lock": ("list", lock_path(stack.list_file)),
            "dotenv": ("dotenv", ROOT / ".env"),
        }
        for name, member in self._members.items():
            top, _, rest = name.partition("/")
            if name in whole:
                yield Item(whole[name][0], member, whole[name][1])
            elif top == "secrets" and not member.isdir():
                yield Item("secrets", member, stack.secrets_dir / rest)
            elif top == "stack" and not member.isdir():
                yield Item("history", member, stack.home / rest)
            elif top == "sources" and not member.isdir():
                yield Item("sources", member, cache_dir() / "src" / rest)
            elif top == "folders" and not member.isdir():
                service, _, inside = rest.partition("/")
                yield Item("sources", member, folders[service] / inside)

    def differing(self, items: Collection[Item]) -> list[Path]:
        """What is there already, and is something else."""
        return [one.path for one in items if os.path.lexists(one.path) and not self._same(one)]

    def _same(self, item: Item) -> bool:
        if item.member.issym():
            return item.path.is_symlink() and os.readlink(item.path) == item.member.linkname
        return item.path.is_file() and item.path.read_bytes() == self._content(item)

    def _content(self, item: Item) -> bytes:
        part = self._archive.extractfile(item.member)
        return part.read() if part else b""

    def put_back(self, stack: Stack, items: Collection[Item]) -> int:
        """Write them, with modes and, as root, owners of then; return how many were not there. Folders before files."""
        written = 0
        self._folders(stack, items)
        for item in items:
            if os.path.lexists(item.path) and self._same(item):
                continue
            written += 1
            if item.member.issym():
                item.path.parent.mkdir(parents=True, exist_ok=True)
                item.path.unlink(missing_ok=True)
                item.path.symlink_to(item.member.linkname)
            elif item.part == "history" and item.path == stack.variables_file:
                write_atomic(item.path, self._settings(stack, self._content(item)), mode=0o600)
            else:
                owner = (item.member.uid, item.member.gid) if item.part == "secrets" and os.geteuid() == 0 else None
                write_atomic(item.path, self._content(item), mode=item.member.mode & 0o777, owner=owner)
        return written

    def _folders(self, stack: Stack, items: Collection[Item]) -> None:
        """The secrets' folders, closed as they were; all others come with their files."""
        if not any(item.part == "secrets" for item in items):
            return
        for name, member in sorted(self._members.items()):
            if member.isdir() and name.partition("/")[0] == "secrets":
                folder = stack.secrets_dir / name.partition("/")[2]
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(member.mode & 0o777)
                if os.geteuid() == 0:
                    os.chown(folder, member.uid, member.gid)

    def _settings(self, stack: Stack, content: bytes) -> str:
        """The settings of then with the paths of this machine."""
        known = json.loads(content)
        known |= {"slugs_file": str(stack.list_file), "secrets_dir": str(stack.secrets_dir)}
        known |= {"log_dir": str(stack.log_dir)}
        return json.dumps(known, indent=2) + "\n"

    def push_state(self, stack: Stack) -> None:
        """Give the stack its state, unless it has it already."""
        if not self.state:
            return
        if state.exists(stack):
            there = json.loads(state.pull(stack))
            if there.get("lineage") == json.loads(self.state).get("lineage"):
                return  # the same one, of then or newer
            raise KarstError(
                f"stack `{stack.name}` has another state already",
                hint="`iac destroy` ends that one; `--part` restores what else is missing",
                code="state_exists",
            )
        state.push(stack, self.state)
