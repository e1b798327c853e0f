"""One stack of many services beside two stacks with half of them each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.scale import create, host, results, services, steps
from tests.support.kit import Kit

NAMES = ("deploy", "deploy of no change", "plan of no change", "deploy of one change", "destroy")


def run(count: int) -> Iterator[dict[str, Any]]:
    """Deploy ``count`` services in one stack, then in two, one after the other; give what each took."""
    for stacks in (1, 2):
        result: dict[str, Any] = {"name": f"split {count} in {stacks}", "services": count, "stacks": stacks}
        result |= {**results.stamp(), "seconds": {}, "bytes": {}}
        with tempfile.TemporaryDirectory(prefix="karst-scale-") as folder:
            env = services.cache_of(Path(folder) / "cache") | {"KARST_GATE_TIMEOUT": "120"}
            kits = [Kit(Path(folder) / f"stack-{number}", env=env) for number in range(stacks)]
            try:
                yield _measure(kits, count // stacks, result)
            finally:
                for kit in kits:
                    steps.clear(kit)


def _measure(kits: list[Kit], each: int, result: dict[str, Any]) -> dict[str, Any]:
    """Each step in each stack: the sum of it, but of the change of one service, which only one stack sees."""
    for number, kit in enumerate(kits):
        for service in range(number * each + 1, (number + 1) * each + 1):
            services.write_app(kit, service)
        kit.write_list([f"dir:{services.name(number * each + place)}" for place in range(1, each + 1)])
    with host.Peak("terraform") as peak:
        for name in ("deploy", *(name for name in create.COMMANDS if name in NAMES)):
            _add(result, name, [_step(kit, name) for kit in kits])
    result["terraform_mib"] = round(peak.mib)
    result["bytes"]["state"] = max(len(kit.state_file.read_text()) for kit in kits)
    services.write_app(kits[0], 1, version=2)
    _add(result, "deploy of one change", [_step(kits[0], "deploy of one change")])
    _add(result, "destroy", [_step(kit, "destroy") for kit in kits])
    return result


def _step(kit: Kit, name: str) -> steps.Step:
    arguments = {"destroy": ("destroy", "--yes")} | create.COMMANDS
    return steps.run(kit, *arguments.get(name, ("deploy", "--file", "repos.yaml")), limit=create.LIMITS[name])


def _add(result: dict[str, Any], name: str, done: list[steps.Step]) -> None:
    """One step for all stacks; wrong when it was so in one."""
    worst = next((one for one in done if one.code != 0), done[0])
    seconds = round(sum(one.seconds for one in done), 1)
    steps.note(result, name, steps.Step(seconds, worst.code, worst.out, worst.err))
