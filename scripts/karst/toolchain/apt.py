"""Debian and Ubuntu packages, where they can be installed without asking anybody: as root."""

from __future__ import annotations

import os
import shutil

from karst.files import cache_dir, locked
from karst.toolchain.process import run


def usable() -> bool:
    """Whether this is a Debian or Ubuntu machine and we are root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install ``packages``; raise KarstError with apt's last line when that fails."""
    env = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    # apt's own lock makes the second of two callers fail at once, unless it is told to wait.
    wait = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]
    names = " ".join(packages)
    with locked(cache_dir() / "apt.lock"):
        run(["apt-get", *wait, "update", "-qq"], what=f"read the package lists for {names}", timeout=300, env=env)
        run(
            ["apt-get", *wait, "install", "-y", "-qq", "--no-install-recommends", *packages],
            what=f"install {names}",
            timeout=900,
            env=env,
        )
