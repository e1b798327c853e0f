"""How an app ended, in one sentence, and whether starting it again could help."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Collection, Sequence
from typing import NamedTuple

REASON_LENGTH = 300
_USAGE = re.compile(r"^\s*usage:", re.IGNORECASE)
_MISSING = re.compile(r"required|missing (argument|option|command|parameter)|expected .*argument", re.IGNORECASE)


class Ending(NamedTuple):
    code: int  # as a shell would say it: 128 + n for signal n
    reason: str
    permanent: bool  # the next try would end the same way


def exit_code(status: int) -> int:
    """Turn a wait status into a shell's exit code."""
    code = status >> 8 if status & 0x7F == 0 else -(status & 0x7F)
    return code if code >= 0 else 128 - code


def explain(
    code: int, output: Sequence[str], *, out_of_memory: bool = False, kit_ports: Collection[int] = ()
) -> Ending:
    """Say why an app ended with ``code``; ``output`` is the last lines it wrote, oldest first."""
    lines = [line.strip() for line in output if line.strip()]
    usage = next((line for line in lines if _USAGE.match(line)), "")
    if code == 0:
        return Ending(
            0,
            f"ended after printing its usage ({cut(usage)}): if it needs arguments, set `args:`" if usage else "",
            True,
        )
    if code == 2 and usage:
        missing = next((line for line in reversed(lines) if _MISSING.search(line)), usage)
        return Ending(code, f"needs arguments: set `args:` ({cut(missing)})", True)
    if out_of_memory and code == 128 + signal.SIGKILL:
        return Ending(code, "was killed because it used more memory than `memory:` allows", False)
    if code > 128:
        name = f"signal {code - 128}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(code - 128).name
        return Ending(code, f"was ended by {name}" + _last(lines), False)
    taken = [port for port in kit_ports if lines and re.search(rf"\b{port}\b", lines[-1])]
    hint = f"; port {taken[0]} is the kit's: let it listen on PORT" if taken else ""
    return Ending(code, f"exited with code {code}" + _last(lines) + hint, False)


def _last(lines: Sequence[str]) -> str:
    return f": {cut(lines[-1])}" if lines else ""


def cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"


def oom_kills() -> int:
    """Return how often the kernel killed in this container for want of memory (cgroup v2, else v1, else 0)."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as lines:
            for line in lines:
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0
