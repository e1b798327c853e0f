"""What the routes share, one per app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import current_app

from admin.audit import Audit
from admin.auth.authenticate import Authenticator
from admin.limits import RateLimit, StreamLimit
from admin.runs.manager import Runs
from admin.settings import Settings
from admin.stack import StackView


@dataclass
class Context:
    """The parts of one admin app; `streams` is per listener, so that one cannot use up the other's threads."""

    settings: Settings
    authenticator: Authenticator
    runs: Runs
    stack: StackView
    audit: Audit
    reads: RateLimit = field(init=False)
    writes: RateLimit = field(init=False)
    refusals: RateLimit = field(init=False)
    memory: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, StreamLimit] = field(init=False)

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.reads = RateLimit(limits.reads, limits.reads_burst)
        self.writes = RateLimit(limits.writes, limits.writes_burst)
        # Refused strangers are worth a line in the audit log, but must not be able to fill the disk with them.
        self.refusals = RateLimit(0.1, 50)
        self.streams = {name: StreamLimit(limits.streams, limits.streams_per_subject) for name in ("tcp", "unix")}


def context() -> Context:
    """The context of the app that serves the current request."""
    found = current_app.extensions["karst"]
    assert isinstance(found, Context)  # noqa: S101 - set in create_app, nowhere else
    return found
