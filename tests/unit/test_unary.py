"""HealthCheck without the gRPC library: the same answers, for any message and any nonsense."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karst import unary
from karst.pb import controlplane_pb2 as pb
from karst.probe import health_of

TEXT = st.text(max_size=60)
MESSAGE = st.builds(
    dict,
    status=st.sampled_from(pb.HealthStatus.Status.values()),
    kind=st.sampled_from(pb.HealthStatus.Kind.values()),
    reason=TEXT,
    revision=TEXT,
    service=TEXT,
    stack=TEXT,
    app_port=st.integers(0, 65535),
    restarts=st.integers(0, 2**32 - 1),
)


def test_the_words_are_those_of_the_contract() -> None:
    assert list(unary.STATUS) == [pb.HealthStatus.Status.Name(n) for n in range(len(pb.HealthStatus.Status.values()))]
    assert list(unary.KIND) == [pb.HealthStatus.Kind.Name(n).lower() for n in range(len(pb.HealthStatus.Kind.values()))]


@given(MESSAGE, st.none() | st.integers(-(2**31), 2**31 - 1), st.none() | st.integers(0, 2**62), st.integers(0, 2**20))
def test_every_message_is_read_as_the_library_reads_it(
    given_fields: dict[str, Any], code: int | None, since: int | None, more: int
) -> None:
    message = pb.HealthStatus(**given_fields)
    if code is not None:
        message.exit_code = code
    if since is not None:
        message.since.FromNanoseconds(since)
    unknown = bytes([0x98, 0x06]) + bytes([more & 0x7F])  # field 99, of a later version of the contract
    health = health_of("web", unary.fields_of(message.SerializeToString() + unknown))
    assert (health.status, health.kind) == (
        pb.HealthStatus.Status.Name(message.status),
        pb.HealthStatus.Kind.Name(message.kind).lower(),
    )
    assert (health.reason, health.revision, health.stack) == (message.reason, message.revision, message.stack)
    assert (health.app_port or 0, health.restarts) == (message.app_port, message.restarts)
    assert health.exit_code == code
    assert health.since_ns == (since or 0)


@given(st.binary(max_size=80))
def test_nonsense_is_no_answer_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(ValueError, IndexError, unary.NoAnswer):
        health_of("web", unary.fields_of(body))


@pytest.mark.parametrize("fields", [{1: b"x"}, {1: 17}, {5: 9}, {2: 1 << 40}, {7: b"\xff"}, {10: b"\xff"}, {10: 3}])
def test_a_field_of_another_kind_is_no_answer(fields: dict[int, Any]) -> None:
    with pytest.raises(unary.NoAnswer):
        health_of("web", fields)
