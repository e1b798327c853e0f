"""What the routes share, one per app."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from flask import current_app

from admin.audit import Audit
from admin.auth.authenticate import Authenticator
from admin.limits import RateLimit, Shared, StreamLimit
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
    engine: threading.BoundedSemaphore = field(init=False)
    health: Shared = field(init=False)
    graph: Shared = field(init=False)
    certificates: Shared = field(init=False)
    streams: dict[str, StreamLimit] = field(init=False)

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.reads = RateLimit(limits.reads, limits.reads_burst)
        self.writes = RateLimit(limits.writes, limits.writes_burst)
        # Refused strangers are worth a line in the audit log, but must not be able to fill the disk with them.
        self.refusals = RateLimit(0.1, 50)
        # A Docker engine that hangs must not take every thread with it.
        self.engine = threading.BoundedSemaphore(6)
        # Asking every service for its health is work: readers share an answer.
        self.health = Shared(fresh=1.0, patience=6.0)
        self.graph = Shared(fresh=2.0, patience=8.0)
        self.certificates = Shared(fresh=10.0, patience=8.0)
        self.streams = {name: StreamLimit(limits.streams, limits.streams_per_subject) for name in ("tcp", "unix")}
        self.streams["grpc"] = StreamLimit(limits.grpc_streams, limits.grpc_streams)


def context() -> Context:
    """The context of the app that serves the current request."""
    found = current_app.extensions["karst"]
    assert isinstance(found, Context)  # noqa: S101 - set in create_app, nowhere else
    return found
