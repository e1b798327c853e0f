"""How long Terraform takes to put the resources of a list in order: when all are made, all replaced, all removed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karst.toolchain import record
from tests.scale import host, results

SKELETON = Path(__file__).resolve().parent / "skeleton"
LIMIT = 900.0  # seconds for each
STEPS = {
    "make": ("-var=generation=1",),
    "replace": ("-var=generation=2",),
    "remove": ("-var=generation=2", "-destroy"),
}


def run(count: int) -> Iterator[dict[str, Any]]:
    """Plan and apply each step for ``count`` services; give processor time and memory, after each step anew."""
    result: dict[str, Any] = {"name": f"order {count}", "services": count, **results.stamp()}
    result |= {"processor": {}, "mib": {}}
    with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
        shutil.copy(SKELETON / "main.tf", folder)
        env = {**os.environ, **record.terraform_environment(), "CHECKPOINT_DISABLE": "1", "GOGC": "400"}  # as `iac`'s
        terraform = [record.terraform_command(), f"-chdir={folder}"]
        subprocess.run([*terraform, "init", "-input=false"], env=env, capture_output=True, check=True)
        for name, options in STEPS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [*terraform, "apply", "-auto-approve", "-json", f"-var=services={count}", *options]
            try:
                with host.Peak("terraform") as peak:
                    host.timed(command, env=env, timeout=LIMIT)
            except subprocess.TimeoutExpired:
                result.setdefault("given_up", {})[name] = LIMIT
                break
            result["processor"][name] = host.processor_since(before)
            result["mib"][name] = round(peak.mib)
            print(f"{result['name']}: {name} {result['processor'][name]} s, {peak.mib:.0f} MiB", flush=True)
            yield result
    yield result
