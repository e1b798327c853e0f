"""A list of a given length planned without creating anything: by the helper programs, by Terraform, and with mocks."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.scale import host, mocked, results, services, steps
from tests.support.kit import ROOT, Kit

LIMIT = 900.0  # seconds for each plan: longer than anybody waits for one
HELPERS = ("fetch", "detect", "render", "identity")


def run(count: int, parts: Iterable[str], home: Path | None = None) -> Iterator[dict[str, Any]]:
    """Plan ``count`` services; give seconds, memory and bytes as each of ``parts`` has been measured.

    ``home``: a folder that stays, so that a later call can do the next part; otherwise one that is gone afterwards.
    """
    with contextlib.ExitStack() as left:
        folder = home or Path(left.enter_context(tempfile.TemporaryDirectory(prefix="karst-scale-")))
        fresh = not (folder / "stack").exists()
        folder.mkdir(exist_ok=True)
        kit = Kit(folder / "stack", stack="scale", env=services.cache_of(folder / "cache"))
        if fresh:
            services.write(kit, count)
        for part in parts:
            result: dict[str, Any] = {"name": f"plan {count}", "services": count, **results.stamp()}
            result |= {"bytes": {}, "seconds": {}, "mib": {}, "processor": {}}
            MEASURED[part](folder, kit, result)
            yield result


def _helpers(folder: Path, kit: Kit, result: dict[str, Any]) -> None:
    """Each helper program by hand, as Terraform calls it: first with an empty cache, then again."""
    for again in ("", ", again"):
        answers: dict[str, dict[str, str]] = {}
        for name in HELPERS:
            seconds, processor = helper(name, kit, answers)
            result["seconds"][name + again] = seconds
            result["bytes"][name] = len(answers[name]["services"])
            print(f"{result['name']}: {name}{again} {seconds} s ({processor:.1f} s of processor)", flush=True)


def helper(name: str, kit: Kit, answers: dict[str, dict[str, str]]) -> tuple[float, float]:
    """Put the program's answer into ``answers``; return the seconds that it took, and those of processor time."""
    query = json.dumps(_query(name, kit, answers))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, done = host.timed([str(ROOT / "scripts" / name)], input=query, env={**os.environ, **kit.env})
    answers[name] = json.loads(done.stdout)
    return seconds, host.processor_since(before)


def _query(name: str, kit: Kit, answers: dict[str, dict[str, str]]) -> dict[str, str]:
    """What modules/karst_service asks the helper program."""
    fetched = answers.get("fetch", {}).get("services", "")
    if name == "fetch":
        return {"slugs": "", "slugs_file": str(kit.list_file), "base_dir": str(kit.home), "stack": kit.stack}
    if name == "detect":
        return {"services": fetched}
    if name == "render":
        images = {"base_image": "base", "runner_image": "karstkit/runner:1", "builder_image": "karstkit/builder:1"}
        return {"services": fetched, "detections": answers["detect"]["services"], "stack": kit.stack, **images}
    names = json.dumps([*sorted(json.loads(fetched)), "ops/operator"])
    folder = {"secrets_dir": str(kit.secrets_dir), "stack": kit.stack, "network": f"iacnet-{kit.stack}"}
    return {**folder, "services": names, "app_secrets": "{}", "trust_domain": "karst.local"}


def _plan(_folder: Path, kit: Kit, result: dict[str, Any]) -> None:
    """`iac plan` of a stack that does not exist yet: the engine is there, and is asked for nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with host.Peak("terraform") as peak:
        step = steps.run(kit, "plan", "--file", str(kit.list_file), limit=LIMIT)
    steps.note(result, "iac plan", step)
    result["mib"]["iac plan"] = round(peak.mib)
    result["processor"]["iac plan"] = host.processor_since(before)
    if step.code == 0:
        result["bytes"]["plan file"] = (kit.home / "state" / kit.stack / "karst.tfplan").stat().st_size


def _mocked(folder: Path, kit: Kit, result: dict[str, Any]) -> None:
    """The module's plan with every provider mocked: Terraform's own share, which needs no engine."""
    answers: dict[str, dict[str, str]] = {}
    for name in HELPERS:
        helper(name, kit, answers)
    command, env = mocked.prepare(folder / "mocked", kit, answers)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with host.Peak("terraform") as peak:
            result["seconds"]["mocked"], _ = host.timed(command, env=env, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        result["given_up"] = {"mocked": LIMIT}
    result["processor"]["mocked"] = host.processor_since(before)
    result["mib"]["mocked"] = round(peak.mib)
    print(f"{result['name']}: mocked {result['processor']['mocked']} s of processor, {peak.mib:.0f} MiB", flush=True)


MEASURED = {"helpers": _helpers, "plan": _plan, "mocked": _mocked}
PARTS = tuple(MEASURED)
