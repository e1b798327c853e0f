"""Programs of Debian packages, unpacked into the cache and not installed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from karst.files import cache_dir, locked
from karst.toolchain.process import run


def unpacked(name: str, *packages: str) -> Path:
    """The folder that ``packages`` were unpacked into: downloaded once, and kept under ``name``."""
    folder = cache_dir() / "tools" / name
    with locked(cache_dir() / "apt.lock"):
        if not folder.exists():
            env = {"LC_ALL": "C"}
            run(["apt-get", "update", "-qq"], what=f"read the package lists for {name}", timeout=300, env=env)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                place = Path(scratch)
                what = f"download Debian's {name}"
                run(["apt-get", "download", "-qq", *packages], what=what, timeout=300, env=env, cwd=place)
                for package in place.glob("*.deb"):
                    run(["dpkg", "-x", package, place / "tree"], what=f"unpack Debian's {name}", timeout=60)
                (place / "tree").rename(folder)
    return folder
