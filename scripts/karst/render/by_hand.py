"""``scripts/render FOLDER``: the decision and the Dockerfile, for a person; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

from karst.deps import Request, choose
from karst.errors import UsageError
from karst.render.dockerfile import Image, render

USAGE = "usage: scripts/render FOLDER [--json] [-- COMMAND…]"


def main(words: list[str]) -> int:
    """Print what would be built from FOLDER when COMMAND is its entry point (default: none)."""
    split = words.index("--") if "--" in words else len(words)
    options, argv = words[:split], tuple(words[split + 1 :])
    folders = [word for word in options if not word.startswith("-")]
    unknown = [word for word in options if word.startswith("-") and word != "--json"]
    if len(folders) != 1 or unknown:
        raise UsageError(USAGE, code="usage")
    source = Path(folders[0])
    if not source.is_dir():
        raise UsageError(f"{source} is not a folder", code="usage")
    launch = "file" if argv[:1] == ("python",) else "console-script" if argv else ""
    plan = choose(Request(source=source, argv=argv, launch=launch))
    if "--json" in options:
        print(json.dumps(plan.to_dict(), indent=2))
        return 0
    image = Image(
        builder_image="karstkit/builder",
        runner_image="karstkit/runner",
        base_image="",
        service=source.resolve().name,
        argv=argv,
        plan=plan,
        src_layout=(source / "src").is_dir(),
    )
    print(f"{plan.reason}." + "".join(f"\nnote: {note}" for note in plan.notes) + "\n")
    for name, text in sorted(plan.files.items()):
        print(f"--- {name}\n{text}")
    print(render(image))
    return 0
