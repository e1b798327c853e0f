"""Where Prometheus finds the figures of a stack: a `file_sd` file that every deploy writes.

One target per pod, and the edge. All have the edge's address and differ by path; the root envs/local has the same
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
from karst.stats import pods_of


def file_of(stack: Stack) -> Path:
    """Beside the stacks' folders and not inside: Prometheus takes one `*`, and only in the last part of a path."""
    return stack.home.parent / f"{stack.name}.prometheus.json"


def targets(stack: Stack, pods: Sequence[Member]) -> list[dict[str, Any]]:
    """The groups of targets of a stack whose pods are ``pods``, newest first: one a pod of each newest generation."""
    revisions: dict[str, str] = {}
    for pod in pods:
        if pod.role == "pod":
            revisions.setdefault(pod.service, pod.revision)
    running = pods_of(pods)
    rows = []
    for name, revision in sorted(revisions.items()):
        names = running.get(name, [])
        # Without a name of a pod the edge asks the service, which is the same while there is one.
        several = [(pod, f"/services/{name}/pods/{pod}") for pod in sorted(names)] if len(names) > 1 else []
        rows += [
            (name, instance, f"{path}/stats/prometheus", revision)
            for instance, path in several or [(name, f"/services/{name}")]
        ]
    return [
        {
            "targets": [f"127.0.0.1:{stack.ports['metrics']}"],
            "labels": {
                "__metrics_path__": path,
                "instance": instance,  # the address is the same for all
                "revision": revision,
                "service": name,
                "stack": stack.name,
            },
        }
        for name, instance, path, revision in [*rows, ("edge", "edge", "/stats/prometheus", "")]
    ]


def write(stack: Stack) -> None:
    """Write the file of what is deployed now; Prometheus notices by itself."""
    with containers.engine() as docker:
        found = containers.members(docker, stack.name)
    write_atomic(file_of(stack), json.dumps(targets(stack, found), indent=2, sort_keys=True) + "\n", mode=0o644)


def remove(stack: Stack) -> None:
    file_of(stack).unlink(missing_ok=True)
