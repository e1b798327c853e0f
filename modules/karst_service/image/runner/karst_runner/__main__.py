"""`runner COMMAND…`: what the image's ENTRYPOINT starts. See the package's docstring for the picture."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .health import Board
from .logs import Mirror, Pump, Ring
from .network import Watch
from .settings import Settings, app_environment, wants_traces
from .supervisor import Supervisor, block_signals

Flush = Callable[[float], None]

OTEL_DIR = "/opt/karst/otel"
FLUSH = 0.5


def run(settings: Settings, otel_dir: str = OTEL_DIR) -> int:
    """Run the app under supervision; returns the container's exit code."""
    block_signals()
    stdout, stderr = os.dup(1), os.dup(2)
    ring = Ring(settings.ring_bytes)
    mirror = Mirror(stdout, settings.mirror_bytes)
    pump = Pump(ring, mirror)
    # From here on the runner's own words (gRPC's, a traceback) go the app's way: nobody can block on a full stdout.
    os.dup2(pump.own, 1)
    os.dup2(pump.own, 2)
    mirror.start()
    pump.start()
    board = Board()
    # gRPC takes longer to import than everything else together; the app need not wait for it, but finds the port taken.
    server = _Server(settings, board, ring, pump)
    server.start()
    Watch(pump.say).start()
    flush_traces: Flush = _nothing
    try:
        socket_name, flush_traces = _traces(otel_dir, pump, mirror)
        environment = app_environment(os.environ, otel_dir, socket_name)
        return Supervisor(settings, environment, board, ring, pump).run()
    except BaseException:
        os.set_blocking(stderr, False)
        os.write(stderr, traceback.format_exc().encode())
        raise
    finally:
        pump.settle(0.2)
        flush_traces(FLUSH)
        server.stop()
        mirror.flush(FLUSH)


def _traces(otel_dir: str, pump: Pump, mirror: Mirror) -> tuple[str, Flush]:
    """Start taking spans; returns the name of the socket for them ("" when the app is not traced), and how to flush."""
    if not os.path.isdir(otel_dir) or not wants_traces(os.environ):
        return "", _nothing
    from .collector import Collector, target
    from .traces import Traces

    try:
        where = target(os.environ)
    except ValueError as err:
        pump.say(f"no traces: {err}")
        return "", _nothing
    if where is None:
        traces = Traces(lambda body, _lost: mirror.put(body + b"\n"))
        traces.start()
        return traces.name_in_env, _nothing
    collector = Collector(where, pump.say)
    collector.start()
    traces = Traces(collector.put)
    traces.start()
    return traces.name_in_env, collector.flush


def _nothing(_timeout: float) -> None:
    """Flush what needs no flushing."""


class _Server(threading.Thread):
    """Imports gRPC and serves; a port that cannot be had is said in the log, tried again, and does not stop the app."""

    def __init__(self, settings: Settings, board: Board, ring: Ring, pump: Pump) -> None:
        super().__init__(name="grpc-start", daemon=True)
        self._arguments = (settings, board, ring)
        self._ring = ring
        self._pump = pump
        self._server: object = None
        self._place = socket.socket()  # without SO_REUSEADDR: two that have it may share a port until one listens
        with contextlib.suppress(OSError):
            self._place.bind(("127.0.0.1", settings.listen_port))

    def run(self) -> None:
        from .service import serve

        for attempt in itertools.count():
            try:
                self._server = serve(*self._arguments, vacate=self._place.close)
                return
            except RuntimeError as err:
                if attempt == 0:
                    self._pump.say(f"cannot be asked for health and logs yet: {err}")
                time.sleep(1.0)

    def stop(self) -> None:
        self._ring.close()
        if self._server is not None:
            from .service import stop

            stop(self._server, self._ring)  # type: ignore[arg-type]


def main() -> None:
    """Entry point; never returns: threads that are stuck in a write must not keep the container alive."""
    code = 1
    try:
        settings = Settings.from_environment(sys.argv[1:], os.environ)
        code = run(settings)
    except ValueError as err:
        os.write(2, f"karst: {err}\n".encode())
        code = 2
    except BaseException:  # its traceback is out already
        code = 70  # EX_SOFTWARE
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
