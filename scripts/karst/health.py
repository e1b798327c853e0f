"""The health of a stack: every service asked HealthCheck over mTLS through the edge, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from karst import containers
from karst.errors import UsageError, did_you_mean
from karst.stack import Stack

if TYPE_CHECKING:
    from karst.probe import Health


def services(stack: Stack) -> list[str]:
    """Names of the services of the stack that have a container, running or not."""
    with containers.engine() as docker:
        return sorted(
            {m.service for m in containers.members(docker, stack.name) if m.role in ("pod", "app", "sidecar")}
        )


def ask(stack: Stack, names: list[str] | None = None, *, timeout: float = 5.0) -> list[Health]:
    """Ask the named services (default: all); raise UsageError for a name that the stack does not have."""
    from karst.probe import probe_all

    known = services(stack)
    for name in names or []:
        if name not in known:
            raise UsageError(
                f"stack `{stack.name}` has no service `{name}`",
                hint=did_you_mean(name, known) or f"it has: {', '.join(known) or 'none'}",
                code="unknown_service",
            )
    return probe_all(names or known, address=stack.edge, secrets_dir=stack.secrets_dir, timeout=timeout)
