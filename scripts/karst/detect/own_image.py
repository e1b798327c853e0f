"""An entry with ``dockerfile:``: the repository says itself what its image is; only the port is found out."""

from __future__ import annotations

import os
import re
from pathlib import Path

from karst.detect.dockerfile import instructions
from karst.detect.errors import DetectError, listed
from karst.detect.result import Detection
from karst.fields import RESERVED_PORTS

RULE = "dockerfile"
LAUNCH = "image"
_PORT = re.compile(r"([0-9]{1,5})(?:/tcp)?", re.IGNORECASE)


def own_image(source: Path, dockerfile: str) -> Detection:
    """The answer for the Dockerfile at that path below ``source``; DetectError (``bad_dockerfile``) when it is none."""
    path = source / dockerfile
    if not path.resolve().is_relative_to(source.resolve()):
        raise DetectError("bad_dockerfile", f"`{dockerfile}` is a link that leaves the repository")
    if not path.is_file():
        known = _others(source)
        raise DetectError(
            "bad_dockerfile",
            f"there is no file `{dockerfile}` in the repository",
            hint=f"it has {listed(known)}" if known else "it has no Dockerfile: leave `dockerfile` away",
            candidates=known,
        )
    try:
        found = list(instructions(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        raise DetectError("bad_dockerfile", f"`{dockerfile}` is not text in UTF-8") from None
    stages = [number for number, (_, keyword, _) in enumerate(found) if keyword == "FROM"]
    if not stages:
        raise DetectError("bad_dockerfile", f"`{dockerfile}` is no Dockerfile: it has no FROM")
    return Detection(
        argv=(),
        kind="server",
        rule=RULE,
        reason=f"`dockerfile: {dockerfile}`: the image is built and started as the repository says",
        evidence=f"{dockerfile}:{found[stages[-1]][0]}",
        launch=LAUNCH,
        port=_exposed(found[stages[-1] :]),
        confidence="certain",
    )


def _exposed(stage: list[tuple[int, str, str]]) -> int | None:
    """The first TCP port that the last stage names, unless it is one of the kit's."""
    for _, keyword, rest in stage:
        for word in rest.split() if keyword == "EXPOSE" else ():
            match = _PORT.fullmatch(word)
            if match and 0 < int(match[1]) < 65536 and int(match[1]) not in RESERVED_PORTS:
                return int(match[1])
    return None


def _others(source: Path) -> list[str]:
    """Dockerfiles of the repository, by their usual names, near the root first."""
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        here = Path(folder).relative_to(source)
        found += [
            (here / name).as_posix() for name in names if re.search(r"(?i)^(docker|container)file|dockerfile$", name)
        ]
    return sorted(found, key=lambda name: (name.count("/"), name))
