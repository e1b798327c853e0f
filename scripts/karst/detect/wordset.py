"""Word lists in tables are written as text."""

from __future__ import annotations


def wordset(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())
