"""This checkout as somebody else gets it: a bare git repository behind the address that the examples name."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support.kit import ROOT

ADDRESS = "https://example.org/karstkit.git"


def publish(folder: Path, example: Path) -> dict[str, str]:
    """Make the repository below ``folder``, tagged as ``example`` asks for it; return the environment with which git
    finds it at the address that the example's files name, which therefore need no change.
    """
    files = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    ).stdout
    work = folder / "work"
    work.mkdir()
    present = b"\0".join(name for name in files.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    pack = subprocess.run(
        ["tar", "-C", str(ROOT), "--null", "-T", "-", "-c"], input=present, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-C", str(work), "-x"], input=pack, check=True)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(work)]
    for arguments in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "--no-verify", "-m", "published"]):
        subprocess.run([*git, *arguments], check=True)
    for tag in refs(example):
        subprocess.run([*git, "tag", tag], check=True)
    bare = folder / "karstkit.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{bare.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }


def refs(example: Path) -> set[str]:
    """The tags of the kit that an example's Terraform files name."""
    texts = "".join(path.read_text() for path in example.glob("*.tf"))
    return set(re.findall(re.escape(f"git::{ADDRESS}//modules/") + r"\w+\?ref=([\w.-]+)", texts))
