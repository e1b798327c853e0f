"""What the measuring targets write into the docs: one marked part of a page, and the machine it was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write(page: str, part: str, text: str) -> None:
    """Put ``text`` between the page's markers of ``part``; AssertionError when it has none."""
    path = ROOT / page
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    before, found, rest = path.read_text().partition(begin)
    assert found, f"{page} has no {begin}"
    _, found, after = rest.partition(end)
    assert found, f"{page} has no {end}"
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    return ("" if value is None else str(value)).replace("|", "\\|").replace("\n", " ")


def machine() -> str:
    """One sentence: cores, processor, memory, engine, Terraform, Python."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    memory = re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
    engine = _ask("docker", "version", "--format", "{{.Server.Version}}")
    terraform = _ask("terraform", "version").splitlines()[0] if _ask("terraform", "version") else ""
    return (
        f"{os.cpu_count()} cores ({model[1].strip() if model else platform.machine()}), "
        f"{int(memory[1]) // 1024**2 if memory else 0} GiB, Linux {platform.release().split('-')[0]}, Docker {engine}, "
        f"{terraform}, Python {platform.python_version()}; load before the run {os.getloadavg()[0]:.1f}"
    )


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    except OSError:
        return ""
