"""Puts `iac` on PATH: a link in the first of the usual folders that is on PATH and writable.

Usage: scripts/toolchain/link
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from karst.errors import Exit
from karst.toolchain.process import ROOT, report

COMMAND = ROOT / "admin" / "iac"


def main() -> int:
    report("iac", state()[1] if state()[0] else make())
    return int(Exit.OK)


def state() -> tuple[bool, str]:
    """Return whether nothing is to be done, and what there is to say about it."""
    found = shutil.which("iac")
    if found is None:
        return False, "is not on PATH"
    if Path(found).resolve() == COMMAND.resolve():
        return True, f"is on PATH: {found}"
    # Somebody else's `iac`, or that of another checkout: theirs to change.
    return True, f"on PATH is another one ({Path(found).resolve()}); this checkout's is {COMMAND}"


def folder() -> Path | None:
    """Return the folder where a link would work, or None."""
    on_path = {os.path.realpath(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part}
    for candidate in (Path("/usr/local/bin"), Path.home() / ".local" / "bin"):
        if os.path.realpath(candidate) in on_path and os.access(candidate, os.W_OK):
            return candidate
    return None


def make() -> str:
    """Make the link and return what came of it."""
    target = folder()
    if target is None:
        return f'is not on PATH; put it there: export PATH="{COMMAND.parent}:$PATH"'
    link = target / "iac"
    if link.is_symlink() and not link.exists():
        link.unlink()  # the checkout it pointed to is gone
    link.symlink_to(COMMAND)
    return f"linked: {link}"
