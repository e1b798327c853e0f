"""Takes the app's spans, as OTLP/JSON, and passes them on: to stdout, or to a collector.

The app's side is otel/karst_otel.py. A span must never go the way of the app's own stdout: a program whose output is
read by its parent would find spans in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import threading
from collections.abc import Callable

LARGEST = 256 * 1024  # more than a socket takes in one message (net.core.wmem_max)


class Traces(threading.Thread):
    """Listens on an abstract Unix socket: it needs no file system, and is gone with the container.

    Attributes:
        name_in_env: the socket's name, for KARST_OTEL_SOCKET.
    """

    def __init__(self, deliver: Callable[[bytes, int], None]) -> None:
        """``deliver`` gets one OTLP/JSON object and the number of spans lost before it; it must not block."""
        super().__init__(name="traces", daemon=True)
        self._deliver = deliver
        self.name_in_env = f"karst-otel-{os.getpid()}-{secrets.token_hex(4)}"
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.bind(f"\0{self.name_in_env}")
        self._door.listen(64)

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._door, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._door:
                        with contextlib.suppress(OSError):
                            selector.register(self._door.accept()[0], selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket) and not self._receive(key.fileobj):
                        selector.unregister(key.fileobj)
                        key.fileobj.close()

    def _receive(self, connection: socket.socket) -> bool:
        """Take one message; False when the process at the other end is gone."""
        try:
            data = connection.recv(LARGEST)
        except OSError:
            return False
        lost, separator, body = data.partition(b"\n")
        if separator and lost.isdigit() and body.startswith(b"{") and b"\n" not in body:
            self._deliver(body, int(lost))
        return bool(data)
