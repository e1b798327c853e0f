"""What an engine refuses or leaves unanswered is a sentence. A real one does neither on demand: it is played here."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from karst import containers
from karst.errors import KarstError


class _Engine(http.server.BaseHTTPRequestHandler):
    """Answers the ping, refuses to list containers, and closes without a word when asked for images."""

    def do_GET(self) -> None:
        path = self.path.rpartition("/")[2].partition("?")[0]
        if path == "json" and "/images/" in self.path:
            return
        known = {"_ping": (200, "OK"), "version": (200, json.dumps({"ApiVersion": "1.41"}))}
        status, body = known.get(path, (500, json.dumps({"message": "no space left on device"})))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Engine)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def test_what_the_engine_refuses_is_told_in_its_own_words(engine: None) -> None:
    with (
        pytest.raises(KarstError, match="the Docker engine refused: no space left on device"),
        containers.engine() as it,
    ):
        containers.members(it, "karst")


def test_an_engine_that_hangs_up_is_told_with_what_to_do(engine: None) -> None:
    with pytest.raises(KarstError, match="did not answer") as caught, containers.engine() as it:
        it.api.images()
    assert "docker info" in caught.value.hint


def test_a_fault_of_the_kit_ends_the_command_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from admin.cli import main
    from admin.cli.commands import options

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("seven")

    monkeypatch.setattr(options, "resolve", broken)
    assert main.run(["health"]) == 1
    said = capsys.readouterr().err
    assert "the kit itself failed" in said
    assert "seven" in said
    assert "Traceback" not in said
