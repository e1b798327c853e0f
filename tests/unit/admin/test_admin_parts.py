"""The small parts: limits, signing keys, the auth client, the event file, Envoy's numbers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin.auth.authenticate import Authenticator
from admin.auth.client import AuthServer
from admin.auth.errors import Unauthenticated, Unavailable
from admin.auth.jwks import MIN_REFETCH, TTL, KeySet
from admin.auth.settings import AuthSettings
from admin.limits import RateLimit, Shared, StreamLimit
from admin.runs.events import MAX_LINE, Tail, append, clean
from tests.support.supabase_stub import SigningKey, SupabaseStub


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_limit_gives_a_burst_and_then_its_rate() -> None:
    clock = Clock()
    limit = RateLimit(2, 3, clock)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == pytest.approx(0.5)
    assert limit.take("b") == 0
    clock.now += 0.5
    assert (limit.take("a"), limit.take("a") > 0) == (0, True)


def test_a_rate_limit_forgets_old_callers_instead_of_growing() -> None:
    limit = RateLimit(1, 1)
    for number in range(5000):
        limit.take(str(number))
    assert len(limit._buckets) == 4096


def test_a_stream_limit_counts_per_caller_and_in_all() -> None:
    limit = StreamLimit(3, 2)
    assert [limit.enter("a"), limit.enter("a"), limit.enter("a")] == [True, True, False]
    assert [limit.enter("b"), limit.enter("c")] == [True, False]
    limit.leave("a")
    assert limit.enter("c")
    assert limit.open == 3


def test_many_who_ask_the_same_get_one_answer_and_old_ones_while_it_is_made() -> None:
    """Nobody waits for a slow engine when there is an answer from a second ago."""
    clock, calls, go = Clock(), [], threading.Event()
    shared = Shared(fresh=1, patience=0.05, clock=clock)

    def slow() -> int:
        calls.append(1)
        go.wait(5)
        return len(calls)

    go.set()
    assert (shared.get(slow), shared.get(slow)) == (1, 1)
    clock.now += 2
    go.clear()
    maker = threading.Thread(target=shared.get, args=(slow,))
    maker.start()
    while len(calls) < 2:
        time.sleep(0.01)
    assert shared.get(slow) == 1
    go.set()
    maker.join()
    assert shared.get(slow) == 2


def test_who_waits_too_long_for_the_first_answer_gets_none() -> None:
    shared, go = Shared(fresh=1, patience=0.05), threading.Event()
    maker = threading.Thread(target=shared.get, args=(lambda: go.wait(5),))
    maker.start()
    time.sleep(0.05)
    with pytest.raises(TimeoutError):
        shared.get(lambda: None)
    go.set()
    maker.join()


def test_signing_keys_are_fetched_once_and_again_when_old_or_unknown() -> None:
    """An unknown id asks again, but made-up ids cannot flood the server; a withdrawn key stops working."""
    clock, fetched = Clock(), []
    keys: list[dict[str, Any]] = [{"kid": "a"}]

    def fetch() -> list[dict[str, Any]]:
        fetched.append(1)
        return list(keys)

    known = KeySet(fetch, clock)
    assert known.find("a")
    for _ in range(100):
        assert known.find("made-up") is None
    assert len(fetched) == 1
    keys.append({"kid": "b"})
    clock.now += MIN_REFETCH
    assert known.find("b")
    assert len(fetched) == 2
    keys.pop(0)
    assert known.find("a")
    clock.now += TTL
    assert known.find("a") is None


def test_keys_that_cannot_be_fetched_close_the_door_and_the_next_try_opens_it() -> None:
    state = {"up": False}

    def fetch() -> list[dict[str, Any]]:
        if not state["up"]:
            raise Unavailable("auth_server_unreachable", "down")
        return [{"kid": "a"}]

    known = KeySet(fetch)
    with pytest.raises(Unavailable):
        known.find("a")
    state["up"] = True
    assert known.find("a")


@pytest.fixture
def settings(supabase: SupabaseStub) -> AuthSettings:
    return AuthSettings(supabase.url, supabase.service_role_key, issuer=supabase.issuer)


@pytest.mark.parametrize(
    "change",
    [{"kty": "RSA"}, {"alg": "RS256"}, {"use": "enc"}, {"crv": "P-384"}, {"x": "AA"}, {"kty": "oct", "k": "AAAA"}],
)
def test_a_published_key_of_another_kind_verifies_nothing(
    change: dict[str, str], supabase: SupabaseStub, settings: AuthSettings
) -> None:
    token = supabase.token(supabase.add_user("viewer"))
    supabase.published = [{**supabase.key.jwk, **change}]
    try:
        with pytest.raises(Unauthenticated):
            Authenticator(settings).verify(token)
    finally:
        supabase.published = None


def test_a_rotated_signing_key_is_picked_up_while_the_old_one_is_still_published(
    supabase: SupabaseStub, settings: AuthSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.auth.jwks.MIN_REFETCH", 0)
    authenticator, user, old = Authenticator(settings), supabase.add_user("viewer"), supabase.key
    before = supabase.token(user)
    authenticator.verify(before)
    supabase.key = SigningKey("key-2")
    supabase.published = [old.jwk, supabase.key.jwk]
    try:
        authenticator.verify(supabase.token(user))
        authenticator.verify(before)
    finally:
        supabase.key, supabase.published = old, None


def test_a_hanging_auth_server_costs_one_timeout_and_then_answers_at_once(
    supabase: SupabaseStub, settings: AuthSettings
) -> None:
    """Otherwise every caller would hold a thread for the whole timeout."""
    token = supabase.token(supabase.add_user("viewer"))
    server = AuthServer(replace(settings, timeout=0.3))
    supabase.delay = 1.0
    try:
        for most in (0.9, 0.1, 0.1):
            started = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                server.user(token)
            assert caught.value.reason == "auth_server_unreachable"
            assert time.monotonic() - started < most
    finally:
        supabase.delay = 0


def test_netrc_does_not_replace_the_callers_token(
    supabase: SupabaseStub, settings: AuthSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests prefers ~/.netrc over a plain Authorization header."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login admin password admin\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    user = supabase.add_user("viewer")
    assert AuthServer(settings).user(supabase.token(user))["id"] == user.id
    assert supabase.requests[-1][1]["authorization"].startswith("Bearer ey")
    assert supabase.requests[-1][1]["apikey"] == supabase.service_role_key
    AuthServer(settings).jwks()
    assert "authorization" not in supabase.requests[-1][1]


def test_a_wrong_prefix_is_an_unavailable_server_and_not_a_bad_token(
    supabase: SupabaseStub, settings: AuthSettings
) -> None:
    with pytest.raises(Unavailable, match="answered 404"):
        AuthServer(replace(settings, prefix="/nowhere")).user("a.b.c")


def test_events_are_read_as_the_file_grows_and_half_a_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "events"
    tail = Tail(path)
    assert list(tail.read()) == []
    path.write_bytes(b'{"type":"log","line":"a"}\n{"type":"lo')
    assert [event["line"] for event in tail.read()] == ["a"]
    with path.open("ab") as handle:
        handle.write('g","line":"ü"}\n'.encode())
    assert [(event["seq"], event["line"]) for event in tail.read()] == [(2, "ü")]


def test_an_endless_line_is_cut_and_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "events"
    tail = Tail(path)
    for _ in range(5):
        with path.open("ab") as handle:
            handle.write(b"x" * MAX_LINE)
        assert list(tail.read()) == []
        assert len(tail._rest) <= 2 * MAX_LINE
    append(path, {"type": "result"})
    first, second = tail.read()
    assert (first["type"], first["cut"], len(first["line"])) == ("log", True, MAX_LINE)
    assert second == {"type": "result", "seq": 2}


def test_cleaning_keeps_text_and_takes_terminal_control() -> None:
    assert clean({"a": ["\x1b[31mred\x1b[0m\ttab\nline", 1, None], "b": "ü \u202f\x9b1m"}) == {
        "a": ["red\ttab\nline", 1, None],
        "b": "ü \u202f1m",
    }
