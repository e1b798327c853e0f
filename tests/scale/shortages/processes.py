"""Process numbers: those of the host, and those that the apps' user may have in all."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karst.identity.store import CONTAINER_UID
from tests.scale import host
from tests.scale.shortages import bench
from tests.support.engine import Engine
from tests.support.kit import ROOT

NUMBERS = 700  # process numbers of the whole machine
ROOM = 360  # processes more than the user has


def numbers() -> dict[str, Any]:
    """`pid_max` of the engine's machine, which is a PID namespace of its own (Linux 6.14 or newer has one for each)."""
    with bench.private("numbers", "process numbers of the host (`pid_max`)") as b:
        b.begin()
        with _few_numbers(b.engine):
            b.short(f"{NUMBERS} of {host.number('/proc/sys/kernel/pid_max'):,}")
            b.breaks()
        b.past(f"`sysctl kernel.pid_max` put back{_started_again(b.engine)}")
        return b.result


@contextlib.contextmanager
def _few_numbers(engine: Engine) -> Iterator[None]:
    """By a process that is there before: none could be started to put it back."""
    setting = "/proc/sys/kernel/pid_max"
    # A namespace begins with more than the host has, and takes no more than that afterwards.
    there = host.number(setting)
    script = f"echo {NUMBERS} > {setting}; echo; read -r end; echo {there} > {setting}"
    command = [*engine.inside, "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate("\n", timeout=30)


def _started_again(engine: Engine) -> str:
    """Start the engine where it has ended; words for that, or "" where it goes on."""
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        engine.docker("version")
        return ""
    with contextlib.suppress(AssertionError):
        engine.kill()  # what is left of it
    engine.start()
    return ", and the engine, which had ended, started again"


def user() -> dict[str, Any]:
    """`nproc` of the apps' user: a copy of the kit with a lower number in modules/karst_service/generations.tf."""
    with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
        copy = Path(folder) / "kit"
        ignored = shutil.ignore_patterns(".git", ".karst", ".terraform*", "secrets", "*.tfstate*", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored, symlinks=True)
        file = copy / "modules" / "karst_service" / "generations.tf"
        with bench.private("user", "processes of the apps' user (`nproc`)", program=copy / "admin" / "iac") as b:
            others = host.threads({pid for pid, _ in host.processes()}, CONTAINER_UID)
            there = limit(file, others + ROOM)
            b.begin()
            b.short(f"{ROOM} instead of {there:,}, for the apps and the Envoys")
            b.breaks()
            limit(file, there)
            b.past(f"`processes` in modules/karst_service/generations.tf at {there:,}")
            return b.result


def limit(file: Path, number: int) -> int:
    """Set how many processes the apps' user may have; return what it was."""
    text = file.read_text()
    found = re.search(r"^  processes = (\d+)$", text, re.MULTILINE)
    assert found, f"{file.name} has no number of processes any more"
    file.write_text(text.replace(found[0], f"  processes = {number}"))
    return int(found[1])
