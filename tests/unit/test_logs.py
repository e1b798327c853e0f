"""What `iac logs` shows of what containers print. Docker is a stand-in here; tests/integration asks the real one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admin.cli import logs
from admin.cli.log_lines import Query, past
from karst import containers, kept_logs
from karst.containers import Member
from karst.errors import UsageError
from karst.stack import Stack, resolve
from karst.terminal import neutral


class Docker:
    """Answers like docker-py's low-level client for app containers that print ``said`` (id → lines)."""

    def __init__(self, said: dict[str, list[str]]) -> None:
        self.api = self
        self.said = said
        self.states: dict[str, dict[str, Any]] = {}

    def logs(self, container: str, *, tail: int | str, stream: bool, **_: Any) -> Iterator[bytes]:
        assert stream
        lines = self.said[container]
        text = "".join(f"{line}\n" for line in (lines if tail == "all" else lines[-int(tail) :])).encode()
        yield from (text[start : start + 7] for start in range(0, len(text), 7))

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"State": self.states.get(container, {"Running": True, "ExitCode": 0})}


def app(container: str, created: int, generation: str) -> Member:
    return Member(
        container, f"shop-app-{created}", "shop", "app", f"rev-{generation}", generation, "running", created, "p"
    )


SPAN = '2026-01-01T00:00:02.000000000Z {"resourceSpans":[]}'


def at(second: int, text: str) -> str:
    return f"2026-01-01T00:00:{second:02}.000000000Z {text}"


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stack:
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    return resolve()


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> Callable[..., list[str]]:
    """The texts that a query finds in these containers."""

    def call(docker: Docker, there: list[Member], **query: Any) -> list[str]:
        monkeypatch.setattr(containers, "members", lambda *_: there)
        return [line.text for line in past(docker, stack, Query(("shop",), **query))]

    return call


def test_spans_are_left_out_and_do_not_count_as_lines(show: Any) -> None:
    docker = Docker({"a": [at(1, "first"), SPAN, SPAN, SPAN, at(3, "second")]})
    assert show(docker, [app("a", 1, "g1")], tail=2) == ["first", "second"]
    assert show(docker, [app("a", 1, "g1")], tail=2, traces=True) == ['{"resourceSpans":[]}', "second"]


def test_a_crash_can_be_read_after_its_container_is_gone(show: Any, stack: Stack) -> None:
    """In the order of time, with what it was and how it ended behind its last line."""
    docker = Docker(
        {"old": [at(1, "starting"), at(2, "the database is gone")], "new": ["2999-01-01T00:00:00Z serving"]}
    )
    kept_logs.keep(docker, app("old", 1, "g1"), stack.log_dir, reason="exit code 3: the database is gone", exit_code=3)
    del docker.said["old"]
    end = "karst: end of generation g1, revision rev-g1, exit code 3: exit code 3: the database is gone"
    there = [app("new", 2, "g2")]
    assert show(docker, there) == ["starting", "the database is gone", end, "serving"]
    assert show(docker, there, previous=True) == ["starting", "the database is gone", end]
    assert show(docker, there, generation="rev-g2") == ["serving"]
    assert show(docker, there, tail=2) == [end, "serving"]


def test_what_was_kept_of_a_container_that_is_still_there_is_not_shown_twice(show: Any, stack: Stack) -> None:
    docker = Docker({"old": [at(1, "once")]})
    kept_logs.keep(docker, app("old", 1, "g1"), stack.log_dir)
    assert show(docker, [app("old", 1, "g1")]) == ["once"]


def test_lines_are_chosen_by_time_and_pattern_before_they_are_counted(show: Any) -> None:
    docker = Docker({"a": [at(second, f"line {second}") for second in range(10)]})
    there = [app("a", 1, "g1")]
    assert show(docker, there, grep=re.compile("line [1-4]"), tail=2) == ["line 3", "line 4"]
    assert show(docker, there, since=logs.moment("2026-01-01T00:00:08Z")) == ["line 8", "line 9"]


@pytest.mark.parametrize("query", [{"previous": True}, {"generation": "zzz"}])
def test_a_generation_that_is_not_there_is_named(show: Any, query: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"`shop`"):
        show(Docker({"a": []}), [app("a", 1, "g1")], **query)


def test_a_time_is_a_length_or_a_date() -> None:
    assert logs.moment("1h30m") == pytest.approx(time.time() - 5400, abs=5)
    assert logs.moment("2026-01-01T00:00:00+01:00") == logs.moment("2025-12-31T23:00:00Z")
    for wrong in ("yesterday", "10", "-5m"):
        with pytest.raises(UsageError, match="neither a length of time nor a date"):
            logs.moment(wrong)


def test_what_an_app_prints_cannot_steer_the_terminal() -> None:
    """Colours go; cursor moves, titles, overwriting and reversed text are spelled out."""
    assert neutral("\x1b[1;31mred\x1b[0m\tend\r\n") == "red\tend"
    assert neutral("ok\x1b[2Jgone\x1b]0;title\x07") == "ok\\x1b[2Jgone\\x1b]0;title\\x07"
    assert neutral("hidden\rshown \x9b2K \u202etxt.exe") == "hidden\\x0dshown \\x9b2K \\u202etxt.exe"
