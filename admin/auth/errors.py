"""The three ways a caller can be turned away."""

from __future__ import annotations


class AuthError(Exception):
    """Base: ``reason`` is a stable machine word; neither it nor the message ever holds a token."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint


class Unauthenticated(AuthError):
    """Nobody we know: 401."""


class Forbidden(AuthError):
    """Known, but not allowed to do this: 403."""


class Unavailable(AuthError):
    """The auth server cannot tell: 503, closed."""
