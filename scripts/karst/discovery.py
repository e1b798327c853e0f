"""Where Prometheus finds the figures of a stack: a `file_sd` file that every deploy writes.

One target per service, and the edge. All have the edge's address and differ by path; the root envs/local has the same
as an output. See docs/observability/metrics.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from karst import containers
from karst.containers import Member
from karst.files import write_atomic
from karst.stack import Stack


def file_of(stack: Stack) -> Path:
    """Beside the stacks' folders and not inside: Prometheus takes one `*`, and only in the last part of a path."""
    return stack.home.parent / f"{stack.name}.prometheus.json"


def targets(stack: Stack, pods: Sequence[Member]) -> list[dict[str, Any]]:
    """The groups of targets of a stack whose pods are ``pods``, newest first."""
    revisions: dict[str, str] = {}
    for pod in pods:
        if pod.role == "pod":
            revisions.setdefault(pod.service, pod.revision)
    rows = [(name, f"/services/{name}/stats/prometheus", revision) for name, revision in sorted(revisions.items())]
    return [
        {
            "targets": [f"127.0.0.1:{stack.ports['metrics']}"],
            "labels": {
                "__metrics_path__": path,
                "instance": name,  # the address is the same for all
                "revision": revision,
                "service": name,
                "stack": stack.name,
            },
        }
        for name, path, revision in [*rows, ("edge", "/stats/prometheus", "")]
    ]


def write(stack: Stack) -> None:
    """Write the file of what is deployed now; Prometheus notices by itself."""
    with containers.engine() as docker:
        found = containers.members(docker, stack.name)
    write_atomic(file_of(stack), json.dumps(targets(stack, found), indent=2, sort_keys=True) + "\n", mode=0o644)


def remove(stack: Stack) -> None:
    file_of(stack).unlink(missing_ok=True)
