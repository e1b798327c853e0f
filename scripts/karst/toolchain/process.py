"""Run other programs with a time limit, and say in one line what came of a step."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from karst.errors import KarstError

ROOT = Path(__file__).resolve().parents[3]


def report(step: str, text: str) -> None:
    """Print the step's one line."""
    print(f"  {step:<12} {text}", flush=True)


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    timeout: float,
    hint: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run ``command`` and return its stdout; raise KarstError with the last line it wrote when it fails or hangs.

    ``env`` is added to the process's own environment. ``what`` completes "cannot …".
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as err:
        raise KarstError(f"cannot {what}: there is no `{command[0]}` on PATH", hint=hint, code="missing") from err
    except subprocess.TimeoutExpired as err:
        raise KarstError(f"cannot {what}: no end after {timeout:.0f} s", hint=hint, code="timeout") from err
    if done.returncode != 0:
        raise KarstError(f"cannot {what}: {last_line(done.stderr or done.stdout)}", hint=hint, code="step_failed")
    return done.stdout


def works(command: Sequence[str | Path], *, timeout: float, env: Mapping[str, str] | None = None) -> bool:
    """Whether ``command`` ends with 0 in time."""
    try:
        run(command, what="try", timeout=timeout, env=env)
    except KarstError:
        return False
    return True


def last_line(text: str) -> str:
    """Return the last line that says something: that is where programs put their reason."""
    lines = [line.strip(" │╵╷\t\r") for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "it failed without a word")


def answers(url: str, *, timeout: float = 5) -> bool:
    """Whether ``url`` can be reached and answers 200."""
    request = urllib.request.Request(url, headers={"User-Agent": "karstkit-bootstrap"})  # noqa: S310 - constant https
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 # nosec B310
            return bool(response.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def warn(text: str) -> None:
    """Say something on stderr that is no result of the step."""
    print(f"  {text}", file=sys.stderr, flush=True)
