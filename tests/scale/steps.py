"""Commands of the kit, each with a time of its own: a measurement always ends, and says how far it got."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from tests.support.kit import Kit

GRACE_SECONDS = 60.0  # for a command that was interrupted: Terraform ends what is under way, and saves its state


@dataclass(frozen=True)
class Step:
    """How a command went.

    Attributes:
        seconds: how long it took, or was let.
        code: its exit code; None when it was not done in time.
    """

    seconds: float
    code: int | None
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--events` printed; a line that the end cut off is left out."""
        lines = (line for line in self.out.splitlines() if line.endswith("}"))
        return [json.loads(line) for line in lines]


class Clock:
    """The time that a whole measurement has; without ``seconds``, as much as it wants."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = float("inf") if seconds is None else time.monotonic() + seconds

    def allows(self, limit: float) -> float:
        """``limit``, or what is left when that is less; 0 when nothing is."""
        return max(0.0, min(limit, self._end - time.monotonic()))


def run(kit: Kit, *arguments: str, limit: float) -> Step:
    """Run `iac`; when it is not done after ``limit`` seconds, interrupt it as Ctrl-C does, and wait for its end."""
    begun = time.monotonic()
    if limit <= 0:
        return Step(0, None, "", "")
    with subprocess.Popen(
        kit.command(*arguments), **kit.where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, err = process.communicate(timeout=limit)
            return Step(round(time.monotonic() - begun, 1), process.returncode, out, err)
        except subprocess.TimeoutExpired:
            took = round(time.monotonic() - begun, 1)
            process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return Step(took, None, out, err)


def note(result: dict[str, Any], name: str, step: Step) -> None:
    """Put a step into a result: its seconds, or that it was given up after them, or what it failed of."""
    if step.code is None:
        result.setdefault("given_up", {})[name] = step.seconds
    elif step.code == 0:
        result["seconds"][name] = step.seconds
    else:
        words = (step.err.strip() or step.out.strip()).splitlines()
        result.setdefault("failed", {})[name] = " ".join(words[-2:])[:400] or f"exit code {step.code}"
    print(f"{result['name']}: {name} {step.seconds} s" + ("" if step.code == 0 else ", NOT DONE"), flush=True)


def clear(kit: Kit) -> None:
    """Remove what the engine still has of the stack, whatever became of its state."""
    label = f"label=karst.stack={kit.stack}"
    for listing, removal in (
        (("ps", "-aq"), ("rm", "--force", "--volumes")),
        (("network", "ls", "-q"), ("network", "rm")),
        (("images", "-q"), ("rmi", "--force")),
    ):
        for _ in range(5):  # containers that have just gone may be on their network for a moment longer
            found = kit.docker(*listing, "--filter", label).split()
            if not found:
                break
            with contextlib.suppress(subprocess.CalledProcessError, AssertionError):
                kit.docker(*removal, *dict.fromkeys(found), timeout=600)
