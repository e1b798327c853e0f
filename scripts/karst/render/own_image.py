"""The image of an entry with ``dockerfile:``: the repository's tree as the build context, its Dockerfile as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karst.render.context import kept, place
from karst.render.hashing import digest

# Part of every hash; raise it when the rules of what enters a context change.
FORMAT = "own-1"
IGNORE = ".dockerignore"


def render_own(name: str, service: Mapping[str, Any], stack: str, source: Path) -> dict[str, Any]:
    """What ``render_service`` answers for the others. The hash covers the tree; what FROM names is not looked at."""
    dockerfile, tree = str(service["dockerfile"]), str(service["tree"])
    input_hash = digest(FORMAT, tree, dockerfile)
    context = kept(input_hash, lambda draft: _write(draft, source, dockerfile))
    return {
        "context": str(context),
        "dockerfile": dockerfile,
        "input_hash": input_hash,
        "tag": f"{stack}/{name}:{input_hash[:12]}",
        "argv": [str(word) for word in service.get("args") or []],
        "notes": [],
        "made_of": {
            "source": tree[:12],
            "dockerfile": digest((source / dockerfile).read_text(encoding="utf-8"))[:12],
        },
    }


def _write(draft: Path, source: Path, dockerfile: str) -> None:
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        for name in [*names, *(one for one in folders if (here / one).is_symlink())]:
            place(here / name, draft / (here / name).relative_to(source))
        for name in folders:
            if not (here / name).is_symlink():
                (draft / (here / name).relative_to(source)).mkdir(exist_ok=True)
    ignore = draft / IGNORE
    if ignore.is_file() and not ignore.is_symlink():
        # Many leave their Dockerfile out of the context; Docker's client puts it back, and the provider only where the
        # path is relative to its working folder. The file is a hard link into the cache: replaced, never written to.
        text = ignore.read_text(encoding="utf-8", errors="surrogateescape")
        ignore.unlink()
        ignore.write_text(f"{text}\n!{dockerfile}\n", encoding="utf-8", errors="surrogateescape")
