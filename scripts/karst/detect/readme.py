"""Commands in a README and other texts: what they start, and whether they give it arguments."""

from __future__ import annotations

import re

FILE = re.compile(
    r"(?:\bpython3?(?:\.\d+)?|\bpy|\b(?:streamlit|chainlit|uv) run|\bpanel serve)\s+(?:-u\s+)?"
    r"([\w./\\-]+\.py)\b([^`#&|;]*)"
)
MODULE = re.compile(r"\bpython3?(?:\.\d+)?\s+-m\s+([\w.]+)([^`#&|;]*)")
SPEC = re.compile(r"\b(?:uvicorn|gunicorn|hypercorn|granian|daphne)\b[^\n`]{0,120}?\s\"?([\w.]+):\w+")


def alone(rest: str) -> bool:
    """Whether a command has no arguments but options: with a file or an id behind it, it is no start by itself."""
    words = rest.strip(" \t\"'<>()*.,:").split()
    return not words or words[0].startswith("-") or words[0][:1].isupper() or not words[0].isascii()
