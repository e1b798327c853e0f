"""What `iac logs` shows of what containers print. Docker is a stand-in here; tests/integration asks the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from admin.cli import logs
from karst.containers import Member
from karst.stack import resolve


class Api:
    """Answers like docker-py's low-level client for one container."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def logs(self, _id: str, *, tail: int, **_: Any) -> bytes:
        return "".join(f"{line}\n" for line in self.lines[-tail:]).encode()


class Docker:
    def __init__(self, lines: list[str]) -> None:
        self.api = Api(lines)


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    app = Member("id", "shop-app-1", "shop", "app", "r", "g", "running", 1, "pod")
    monkeypatch.setattr("karst.containers.members", lambda *_: [app])
    span = '2026-01-01T00:00:02Z {"resourceSpans":[]}'
    docker = Docker(["2026-01-01T00:00:01Z first", span, span, span, "2026-01-01T00:00:03Z second"])

    def call(lines: int, traces: bool) -> list[str]:
        return [text for _, _, text in logs._past(docker, resolve(), ["shop"], lines, traces)]

    return call


def test_spans_are_left_out_and_do_not_count_as_lines(past: Any) -> None:
    assert past(2, False) == ["first", "second"]


def test_spans_are_shown_when_asked_for(past: Any) -> None:
    assert past(2, True) == ['{"resourceSpans":[]}', "second"]
