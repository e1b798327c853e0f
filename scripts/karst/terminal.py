"""Text of others on a terminal: what a program prints must not be able to steer the reader's screen."""

from __future__ import annotations

import re

# Colours say nothing in words: they go without a trace.
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# Control characters but tab (escape among them), and those that reverse the direction of the text that follows.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def neutral(text: str) -> str:
    """``text`` on one line, without colours; whatever else steers a terminal is spelled out, as ``\\x1b``."""
    return _CONTROL.sub(_spelled, _COLOURS.sub("", text.rstrip("\r\n")))


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
