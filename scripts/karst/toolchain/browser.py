"""A browser for the page's tests: the system's Chromium or Chrome, else Debian's, installed.

Usage: scripts/toolchain/browser; KARST_TEST_BROWSER names another. The exit code is 1 when there is none and none
can be installed.
"""

from __future__ import annotations

import os
import shutil

from karst.errors import Exit, KarstError
from karst.toolchain import apt
from karst.toolchain.process import report, works

VARIABLE = "KARST_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# The first fonts that the page asks for: with them its pictures are the same on every machine.
FONTS = ("fonts-inter", "fonts-jetbrains-mono")


def main() -> int:
    found = find()
    source = "is there"
    if found is None:
        if not apt.usable():
            raise KarstError(
                "there is no Chromium for the page's tests",
                hint=f"install one (Debian, Ubuntu: `sudo apt-get install chromium`), or name it in {VARIABLE}",
                code="no_browser",
            )
        apt.install("chromium", *FONTS)
        found, source = find(), "installed from Debian packages"
    elif apt.usable() and not all(works(["dpkg", "-s", font], timeout=20) for font in FONTS):
        apt.install(*FONTS)
    report("browser", f"{source}: {found}")
    return int(Exit.OK)


def find() -> str | None:
    """The browser's path, or None."""
    chosen = os.environ.get(VARIABLE)
    names = (chosen,) if chosen else NAMES
    return next((path for name in names if (path := shutil.which(name))), None)
