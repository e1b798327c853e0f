"""What one fetch may cost. Each number has an environment variable (docs/slugs.md); the defaults fit real projects."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field

from karst.errors import KarstError, UsageError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one repository.

    Attributes:
        download: bytes over the network.
        tree: bytes once unpacked.
        files: files, folders and links once unpacked.
        ratio: unpacked bytes per downloaded byte, looked at above 64 MiB; text packs 10 to 30 times, a bomb 1000.
        seconds: for all of it.
    """

    download: int = 512 * MIB
    tree: int = 2048 * MIB
    files: int = 100_000
    ratio: int = 200
    seconds: int = 600

    @classmethod
    def from_env(cls) -> Limits:
        """The defaults, each replaced by its variable of the environment."""
        return cls(
            download=_number("KARST_FETCH_MAX_MB", cls.download // MIB) * MIB,
            tree=_number("KARST_FETCH_MAX_TREE_MB", cls.tree // MIB) * MIB,
            files=_number("KARST_FETCH_MAX_FILES", cls.files),
            ratio=_number("KARST_FETCH_MAX_RATIO", cls.ratio),
            seconds=_number("KARST_FETCH_TIMEOUT", cls.seconds),
        )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= 10**9:
        raise UsageError(f"{name} is `{text[:40]}`, and must be a whole number from 1 up", code="bad_limit")
    return int(text)


@dataclass
class Budget:
    """The time left for one repository, and whether somebody gave up waiting for it."""

    limits: Limits
    cancelled: threading.Event = field(default_factory=threading.Event)
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.limits.seconds

    def left(self) -> float:
        """Seconds left; KarstError (``timeout``, ``cancelled``) when there are none."""
        if self.cancelled.is_set():
            raise KarstError("the fetch was interrupted", code="cancelled")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise KarstError(
                f"it took longer than {self.limits.seconds} seconds",
                hint="try again, or set KARST_FETCH_TIMEOUT to more seconds",
                code="timeout",
            )
        return left
