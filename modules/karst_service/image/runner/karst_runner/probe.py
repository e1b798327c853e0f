"""HTTP readiness: asks the app's `health:` path, one request at a time, in a thread that ends with it."""

from __future__ import annotations

import http.client
import secrets
import threading

TIMEOUT = 2.0
PASS_EVERY = 5.0
FAIL_EVERY = 0.25
#: A service that was up is called down only after so many bad answers in a row: one slow answer is no outage.
PATIENCE = 3


class Probe:
    """The latest word on the path, in ``result``: None before the first answer, "" when it passed, else the trouble."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._failures = 0
        self.result: str | None = None

    def ask(self, host: str, port: int, now: float) -> None:
        """Start a request when one is due; returns at once."""
        if now < self._next or (self._thread is not None and self._thread.is_alive()):
            return
        self._next = now + (PASS_EVERY if self.result == "" and not self._failures else FAIL_EVERY)
        self._thread = threading.Thread(target=self._request, args=(host, port), name="probe", daemon=True)
        self._thread.start()

    def _request(self, host: str, port: int) -> None:
        problem = request(host, port, self._path)
        self._failures = self._failures + 1 if problem else 0
        if not problem or self.result != "" or self._failures >= PATIENCE:
            self.result = problem


def request(host: str, port: int, path: str) -> str:
    """GET ``path`` from the app; "" for any status below 400, else what went wrong, as the end of a sentence."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    # An unsampled parent keeps probes out of everybody's traces (W3C trace context: flags 00).
    trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    headers = {"Host": "localhost", "User-Agent": "karst-runner", "traceparent": trace, "Connection": "close"}
    try:
        connection.request("GET", path, headers=headers)
        status = connection.getresponse().status
    except TimeoutError:
        return f"was not answered within {TIMEOUT:g} s"
    except (OSError, http.client.HTTPException, ValueError) as err:
        return f"failed: {err or type(err).__name__}"
    finally:
        connection.close()
    return "" if status < 400 else f"answered {status}"
