"""A plan for those who review it: a summary in Markdown, and a digest by which a later plan is known to do the same.

A plan file is no artefact to hand on: it has the environment in clear, and it is stale as soon as anything was applied.
So what was reviewed is remembered by its digest, and planned again when its time comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from karst.files import write_atomic
from karst.stack import Stack

Services = Mapping[str, Mapping[str, Any]]
#: Comments have limits: of the three hosts, Bitbucket's is the lowest, at 32,768 characters.
ROOM = 30_000
_SHARED = "(shared)"
# What Markdown or HTML would make something of: emphasis, links, tables, tags, mentions of people and issues.
_SPECIAL = re.compile(r"[^\w\s.,:;/()+=%?'\"→…-]")
_STEPS = {"none": "untouched"}


def digest(stack: str, services: Services, plan: Mapping[str, Any]) -> str:
    """Equal for two plans that do the same to the same: nothing of time, of folders, or of how it is told is in it.

    ``services``: the plan's summary (see karst.plans). ``plan``: Terraform's JSON, for the generation that each service
    comes to, which is a hash of everything that its pod is made of, values of its environment included.
    """
    outputs = plan.get("planned_values", {}).get("outputs", {}).get("services", {}).get("value") or {}
    parts = [
        [
            name,
            one["action"],
            sorted(one["steps"].items()),
            [[reason["what"], reason["before"], reason["after"]] for reason in one["reasons"]],
            outputs.get(name, {}).get("generation", ""),
            one.get("held", {}).get("generation", ""),
        ]
        for name, one in sorted(services.items())
        if one["action"] != "none" or one.get("held")
    ]
    return hashlib.sha256(json.dumps([stack, parts], sort_keys=True).encode()).hexdigest()


def markdown(stack: str, services: Services, code: str, *, room: int = ROOM) -> str:
    """A table of what would change and why; ``code`` is the digest. Not longer than ``room`` characters, or so."""
    changed = {name: one for name, one in services.items() if one["action"] != "none" or one.get("held")}
    untouched = [name for name in services if name and name not in changed]
    count = f"{len(changed)} to change" if changed else "nothing to change"
    lines = [f"### Plan of stack {_plain(stack)}: {count}, {len(untouched)} untouched", ""]
    if changed:
        lines += ["| service | action | why |", "| --- | --- | --- |"]
    for shown, (name, one) in enumerate(changed.items()):
        why = "; ".join(reason["text"] for reason in one["reasons"])
        why = why or ", ".join(f"{step} {done}" for step, done in sorted(one["steps"].items()))
        row = f"| {_plain(name or _SHARED)} | {_STEPS.get(one['action'], one['action'])} | {_plain(why)} |"
        room -= len(row)
        if room < 0:
            lines += ["", f"… and {len(changed) - shown} more, which the log of the job has."]
            break
        lines.append(row)
    held = [f"- {_plain(name)}: {_plain(one['held']['reason'])}" for name, one in changed.items() if one.get("held")]
    if held:
        lines += ["", "Held, or left out, because of:", "", *held[:20]]
    return "\n".join([*lines, "", f"Digest: `{code}`", ""])


@contextlib.contextmanager
def kept(stack: Stack) -> Iterator[None]:
    """Afterwards saved plan, variables and holds are as they were before; the caller holds the stack."""
    paths = (stack.plan_file, stack.plan_file.with_suffix(".json"), stack.variables_file, stack.held_file)
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    try:
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_atomic(path, content, mode=0o600)


def _plain(text: str) -> str:
    """Text that means itself, whatever is in it: slugs and names come from whoever wrote the list."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
