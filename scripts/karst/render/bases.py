"""Image references, and the Python that is in them."""

from __future__ import annotations

import json
import re

from karst.errors import KarstError, UsageError


def pick(images: str, asked: str, spec: str = "") -> str:
    """An image reference. Of a JSON object by Python version: the one asked for, else the first in ``spec``."""
    if images.startswith("{"):
        try:
            by_version = {str(key): str(value) for key, value in json.loads(images).items()}
        except ValueError as err:
            raise UsageError(f"the image references are not JSON ({err})", code="bad_query") from err
    else:
        by_version = {python_of(images): images}
    have = ", ".join(sorted(filter(None, by_version)))
    if asked and have and asked not in by_version:
        raise KarstError(
            f"Python {asked} is asked for, and there is a base image for {have} only",
            hint="change `python:`, or set a base image of that version",
            code="no_python",
        )
    if asked in by_version:
        return by_version[asked]
    if not spec or len(by_version) == 1:
        return next(iter(by_version.values()))
    from karst.deps.pep508 import satisfies

    fitting = [image for version, image in by_version.items() if not version or satisfies(f"{version}.99", spec)]
    return fitting[0] if fitting else next(iter(by_version.values()))


def python_of(reference: str) -> str:
    """The Python version that an image's tag names ("python:3.11-slim" → "3.11"), "" when it names none."""
    match = re.search(r":(3\.\d+)(?![\d])", reference)
    return match.group(1) if match else ""
