"""What was measured, kept as JSON beside the programs that measured it, with the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def save(folder: Path, part: str, result: dict[str, Any], *, key: Sequence[str] = ("name",)) -> None:
    """Keep a result of ``part`` in ``folder``, in the place of an older one with the same values of ``key``."""
    folder.mkdir(exist_ok=True)
    same = [result[name] for name in key]
    kept = [one for one in (load(folder, part) or {"results": []})["results"] if [one[name] for name in key] != same]
    content = {"measured": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine()}
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in [*kept, result])
    head = json.dumps(content, ensure_ascii=False).removesuffix("}")
    (folder / f"{part}.json").write_text(f'{head}, "results": [\n{lines}\n]}}\n')


def load(folder: Path, part: str) -> dict[str, Any] | None:
    """What was kept of ``part``; None if nothing was."""
    path = folder / f"{part}.json"
    content: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return content


def machine() -> str:
    """The machine and what runs on it, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    docker = _ask("docker", "version", "--format", "{{.Server.Version}}")
    terraform = json.loads(_ask("terraform", "version", "-json") or "{}").get("terraform_version", "?")
    kernel = platform.release().partition("-")[0]
    return (
        f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {kernel}, Docker {docker or '?'}, Terraform {terraform}"
    )


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
