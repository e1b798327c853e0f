"""`iac backup` and `iac restore`: a stack in one encrypted file, and back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from karst.errors import UsageError
from karst.files import write_atomic
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.backup.restore import Backup

VARIABLE = "KARST_BACKUP_PASSPHRASE_FILE"


def back_up(stack: Stack, path: Path | None, passphrase_file: Path | None, *, wait: float) -> int:
    """Write the backup, 0600, and say what is in it."""
    from admin.cli.lock import exclusive
    from karst.backup import sealed
    from karst.backup.collect import collect

    passphrase = _passphrase(passphrase_file, new=True)
    target = path or Path(f"{stack.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.karst")
    with exclusive(stack, "backup", wait=wait, tell=_say):
        found = collect(stack)
        write_atomic(target, sealed.seal(found.archive, passphrase), mode=0o600)
    services = found.about["services"]
    click.echo(f"{target}: stack `{stack.name}`, {len(services)} services, {target.stat().st_size / 1024:.0f} KiB")
    for name, revision in sorted(services.items()):
        click.echo(f"  {name} at {revision[:16]}")
    return 0


def restore(
    path: Path,
    passphrase_file: Path | None,
    *,
    parts: Sequence[str],
    overwrite: bool,
    deploy: bool,
    given: dict[str, str | None],
    wait: float,
) -> int:
    """Put everything back, then deploy; ``given`` are places that the caller named."""
    from admin.cli import runs
    from admin.cli.lock import exclusive
    from karst.backup import sealed
    from karst.backup.restore import PARTS, Backup
    from karst.stack import resolve

    began = time.monotonic()
    try:
        content = path.read_bytes()
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}", code="no_backup") from None
    backup = Backup(sealed.unseal(content, _passphrase(passphrase_file, new=False), str(path)), str(path))
    stack = _same_stack(backup, given)
    items = backup.items(stack, parts or PARTS)
    with exclusive(stack, "restore", wait=wait, tell=_say):
        other = [] if overwrite else backup.differing([one for one in items if one.part != "dotenv"])
        if other:
            raise UsageError(
                f"{other[0]} is there and differs from the backup"
                + (f", and {len(other) - 1} more" if len(other) > 1 else ""),
                hint="nothing was changed; --overwrite takes the backup's, --part restores only what is missing",
                code="not_empty",
            )
        items = [one for one in items if one.part != "dotenv" or overwrite or not one.path.exists()]
        written = backup.put_back(stack, items)
        if "state" in (parts or PARTS):
            backup.push_state(stack)
    click.echo(f"restored {written} files of {backup.about['made']} ({time.monotonic() - began:.1f} s)", err=True)
    if not deploy or parts:
        return 0
    for name, value in backup.app_secrets().items():
        os.environ.setdefault(name, value)
    return runs.deploy(resolve(name=stack.name, list_file=str(stack.list_file)), as_events=False, wait=wait)


def _same_stack(backup: Backup, given: dict[str, str | None]) -> Stack:
    """The stack of the backup, at the places that were named, else where it was."""
    from karst.stack import resolve

    os.environ.setdefault("KARST_ENV", backup.about["env"])
    name = backup.about["stack"]
    if (given.get("stack") or name) != name:
        # Its state names that stack's containers: under another name, an apply would remove them.
        raise UsageError(f"this is a backup of stack `{name}`, not of `{given['stack']}`", code="other_stack")
    named = resolve(name=name)
    return resolve(
        name=name,
        list_file=given.get("list_file") or str(backup.list_file(named)),
        secrets_dir=given.get("secrets_dir") or os.environ.get("KARST_SECRETS_DIR") or str(backup.secrets_dir(named)),
    )


def _passphrase(path: Path | None, *, new: bool) -> str:
    """The first line of the file, else what is typed. Never an argument: those are everybody's to read."""
    if path is not None:
        try:
            text = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise UsageError(f"cannot read the passphrase in {path}: {err}", code="no_passphrase") from None
        if not text or not text[0].strip():
            raise UsageError(f"{path} holds no passphrase", code="no_passphrase")
        return text[0].strip()
    if not sys.stdin.isatty():
        raise UsageError(
            "no passphrase was given, and there is no terminal to ask at",
            hint=f"--passphrase-file FILE, or {VARIABLE}",
            code="no_passphrase",
        )
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))


def _say(line: str) -> None:
    click.echo(f"   {line}", err=True)
