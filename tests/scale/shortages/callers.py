"""Names under one `allow:`, which are all in one Envoy's configuration, and that in one variable of its container."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from karst import containers
from tests.scale import mocked, plan, results, services
from tests.scale.shortages.bench import STACK
from tests.support import images
from tests.support.kit import Kit

VARIABLE = 131_072  # MAX_ARG_STRLEN: the longest string that Linux hands to a program


def run() -> dict[str, Any]:
    """Double the callers until the plan is refused, then look for the first number that is; nothing is created."""
    result = {"name": "shortage callers", "limit": "callers under one `allow:`", **results.stamp(), "seconds": {}}
    few, many, words = 1, 2, ""
    with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
        kit, answers = prepare(Path(folder))
        while not (words := refusal(kit, answers, many)):
            few, many = many, 2 * many
        while many - few > 1:
            middle = (few + many) // 2
            told = refusal(kit, answers, middle)
            few, many, words = (few, middle, told) if told else (middle, many, words)
        without = refusal(kit, answers, None)
    return result | {
        "services": many,
        "set_to": f"128 KiB for one variable (the kernel's own); Docker's words: {engines_words()}",
        "broke": f"refused in the plan, before anything is built: {many:,} callers ({few:,} are let through)",
        "sees": words,
        "past": "no `allow:` there",
        "after": without or "planned, whatever the number",
    }


def prepare(folder: Path) -> tuple[Kit, dict[str, dict[str, str]]]:
    """Three services, and what the helper programs answer of them."""
    kit = Kit(folder / "stack", stack=STACK, env=services.cache_of(folder / "cache"))
    services.write(kit, 3, allow=False)
    answers: dict[str, dict[str, str]] = {}
    for name in plan.HELPERS:
        plan.helper(name, kit, answers)
    return kit, answers


def refusal(kit: Kit, answers: dict[str, dict[str, str]], callers: int | None) -> str:
    """What the module's plan says against so many callers of the first service (None: no `allow:`); "" for nothing."""
    fetched = json.loads(answers["fetch"]["services"])
    fetched[services.name(1)]["allow"] = None if callers is None else [services.name(n) for n in range(callers)]
    changed = {**answers, "fetch": {**answers["fetch"], "services": json.dumps(fetched)}}
    command, env = mocked.prepare(kit.home / "mocked", kit, changed)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    told = (json.loads(line).get("diagnostic", {}) for line in done.stdout.splitlines())
    return "" if done.returncode == 0 else next(one["detail"] for one in told if one.get("severity") == "error")


def engines_words() -> str:
    """What Docker says of a variable that is a byte too long."""
    import docker.errors

    too_long = "X=" + "x" * (VARIABLE - 2)
    with containers.engine() as connection:
        try:
            connection.containers.run(images.base(), "true", environment=[too_long], remove=True)
        except docker.errors.ContainerError as err:
            said = err.stderr or b""  # bytes, whatever the library's types say
            return (said.decode() if isinstance(said, bytes) else said).strip().rpartition(": ")[2]
    return "nothing"
