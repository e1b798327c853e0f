"""The signing keys, kept for as long as the auth server says (``max-age=600``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from admin.auth.errors import Unavailable

TTL = 600.0
# An unknown key id asks the server again at most this often: otherwise made-up ids would be a way to flood it.
MIN_REFETCH = 10.0
# While one caller fetches the keys, the others wait this long: a server that hangs must not hang everybody.
PATIENCE = 1.0


class KeySet:
    """Signing keys by id. After TTL they are not used any more: a key that was withdrawn must stop working."""

    def __init__(self, fetch: Callable[[], list[dict[str, Any]]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, dict[str, Any]] = {}
        self._fetched: float | None = None

    def find(self, kid: str) -> dict[str, Any] | None:
        """The key of this id, or None; raises Unavailable when the keys cannot be had."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise Unavailable("auth_server_slow", "the signing keys are still on their way")
        try:
            age = None if self._fetched is None else self._clock() - self._fetched
            if age is None or age >= TTL or (kid not in self._keys and age >= MIN_REFETCH):
                self._refresh()
            return self._keys.get(kid)
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        keys = self._fetch()
        self._keys = {key["kid"]: key for key in keys if isinstance(key.get("kid"), str)}
        self._fetched = self._clock()
