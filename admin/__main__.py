"""Starts the admin app: ``scripts/admin`` or ``make admin``. All settings come from the environment and .env."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from admin.instance import Instance
from admin.settings import Settings, read
from karst.errors import KarstError
from karst.external import guarded


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 2 for settings that cannot be used, 1 when nothing can listen."""
    return guarded(_serve)


def _serve() -> int:
    from admin.cli.main import load_dotenv

    load_dotenv()
    logging.basicConfig(level=os.environ.get("KARST_ADMIN_LOG", "INFO"), format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    stop = threading.Event()
    # Handlers of our own, so that runs do not inherit "ignore" from the shell that started us in the background.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    settings = read()
    instance = Instance(settings, _socket_path(settings))
    instance.start()
    for line in instance.describe():
        print(line, flush=True)
    stop.wait()
    instance.stop()
    return 0


def _socket_path(settings: Settings) -> Path:
    """The socket to make: the chosen one, or the default, or one that this user can make, and a line that says so."""
    folder = settings.socket.parent
    if settings.socket_given or os.access(folder, os.W_OK):
        return settings.socket
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    other = (Path(runtime) if os.access(runtime, os.W_OK) else settings.data) / settings.socket.name
    print(f"admin: {folder} is not writable by this user: the Unix socket is {other} (KARST_ADMIN_SOCKET sets it)")
    return other


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KarstError as err:  # pragma: no cover - guarded() has it
        sys.exit(str(err))
