"""A list of a given length planned without creating anything: by the helper programs, by Terraform, and with mocks."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from karst.toolchain import record
from tests.scale import host, services
from tests.support.kit import ROOT, Kit

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
            result: dict[str, Any] = {"name": f"plan {count}", "services": count, "bytes": {}, "seconds": {}, "mib": {}}
            MEASURED[part](folder, kit, result)
            yield result


def _helpers(folder: Path, kit: Kit, result: dict[str, Any]) -> None:
    """Each helper program by hand, as Terraform calls it: first with an empty cache, then again."""
    for again in ("", ", again"):
        answers: dict[str, dict[str, str]] = {}
        for name in HELPERS:
            seconds, processor = _helper(name, kit, answers)
            result["seconds"][name + again] = seconds
            result["bytes"][name] = len(answers[name]["services"])
            print(f"{result['name']}: {name}{again} {seconds} s ({processor:.1f} s of processor)", flush=True)


def _helper(name: str, kit: Kit, answers: dict[str, dict[str, str]]) -> tuple[float, float]:
    """Put the program's answer into ``answers``; return the seconds that it took, and those of processor time."""
    query = json.dumps(_query(name, kit, answers))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, done = host.timed([str(ROOT / "scripts" / name)], input=query, env={**os.environ, **kit.env})
    answers[name] = json.loads(done.stdout)
    return seconds, _since(before)


def _since(before: resource.struct_rusage) -> float:
    """Processor seconds of the programs that ended since then: what else the machine does is not in it."""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
    with host.Peak("terraform") as peak:
        begun = time.monotonic()
        kit.iac("plan", "--file", str(kit.list_file), timeout=3000)
    result["seconds"]["iac plan"] = round(time.monotonic() - begun, 1)
    result["mib"]["iac plan"] = round(peak.mib)
    result["bytes"]["plan file"] = (kit.home / "state" / kit.stack / "karst.tfplan").stat().st_size
    print(f"{result['name']}: iac plan {result['seconds']['iac plan']} s, {peak.mib:.0f} MiB", flush=True)


TEST = """
mock_provider "docker" {{}}
mock_provider "external" {{}}

variables {{
  slugs_file  = "{list}"
  network     = "mesh"
  secrets_dir = "{secrets}"
}}

{overrides}

run "plan" {{
  command = plan
}}
"""

OVERRIDE = """
override_data {{
  target = data.external.{name}
  values = {{ result = {result} }}
}}
"""


def _mocked(folder: Path, kit: Kit, result: dict[str, Any]) -> None:
    """The module's plan with every provider mocked: Terraform's own share, which needs no engine."""
    answers: dict[str, dict[str, str]] = {}
    for name in HELPERS:
        _helper(name, kit, answers)
    shutil.rmtree(folder / "mocked", ignore_errors=True)
    folder = folder / "mocked"
    module = folder / "modules" / "karst_service"
    shutil.copytree(ROOT / "modules" / "karst_service", module, ignore=shutil.ignore_patterns("tests", ".terraform*"))
    (folder / "scripts").symlink_to(ROOT / "scripts")  # looked for, and not called
    (module / "tests").mkdir()
    overrides = "\n".join(OVERRIDE.format(name=name, result=json.dumps(_escaped(answers[name]))) for name in HELPERS)
    text = TEST.format(list=kit.list_file, secrets=kit.secrets_dir, overrides=overrides)
    (module / "tests" / "scale.tftest.hcl").write_text(text)
    env = {**os.environ, **record.terraform_environment()}
    terraform = [record.terraform_command(), f"-chdir={module}"]
    subprocess.run([*terraform, "init", "-input=false"], env=env, capture_output=True, check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with host.Peak("terraform") as peak:
        seconds, _ = host.timed([*terraform, "test", "-json"], env=env)
    result["seconds"]["mocked"] = seconds
    result["processor"] = {"mocked": round(_since(before), 1)}
    result["mib"]["mocked"] = round(peak.mib)
    print(f"{result['name']}: mocked {seconds} s, {peak.mib:.0f} MiB", flush=True)


def _escaped(answer: dict[str, str]) -> dict[str, str]:
    """As a literal of Terraform's, which would take `${` and `%{` for its own."""
    return {key: value.replace("${", "$${").replace("%{", "%%{") for key, value in answer.items()}


MEASURED = {"helpers": _helpers, "plan": _plan, "mocked": _mocked}
PARTS = tuple(MEASURED)
