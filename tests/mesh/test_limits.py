"""Limits are for slow clients and floods: a stream that moves outlives them, and the heap has a bound in use."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
import requests

from tests.support.mesh import Mesh, Pod, wait_until

# What takes five minutes and ten seconds otherwise. A stream of five seconds is longer than each of these.
SHORT = {
    "stream_idle_timeout: 300s": "stream_idle_timeout: 2s",
    "request_headers_timeout: 10s": "request_headers_timeout: 1s",
}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two services whose sidecars have little patience, and one whose heap is full from the start."""
    made = Mesh(tmp_path_factory.mktemp("short"))
    try:
        made.up([Pod("web", edits=SHORT), Pod("feed", app="grpc", edits=SHORT)])
        made.add([Pod("full", edits={"max_heap_size_bytes: 134217728": "max_heap_size_bytes: 1048576"})])
        made.hand_out("full")
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_a_stream_of_events_outlives_the_limits_for_slow_clients(short: Mesh) -> None:
    """Through the caller's sidecar and the called one's; a stream that is silent for as long is cut."""
    answer = short.call("web", "http://web/events?10,0.5")
    assert answer["status"] == 200
    assert [line for line in answer["body"].splitlines() if line] == [f"data: {number}" for number in range(10)]
    silent = short.call("web", "http://web/events?1,4")
    assert "data" not in str(silent.get("body")), silent
    assert silent.get("status") != 200 or "error" in silent, silent


@pytest.mark.slow
def test_a_stream_of_grpc_outlives_the_limits_for_slow_clients(short: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(
        (short.secrets / "ca.pem").read_bytes(),
        *((short.secrets / f"web.{kind}").read_bytes() for kind in ("key", "crt")),
    )
    options = (("grpc.ssl_target_name_override", "feed"),)
    with grpc.secure_channel(f"127.0.0.1:{short.port(15000)}", credentials, options) as channel:
        stream = channel.unary_stream("/feed.v1.Feed/Follow")(b"", timeout=30)
        assert [message[0] for message in stream] == list(range(10))
        assert stream.code() is grpc.StatusCode.OK


@pytest.mark.slow
def test_a_sidecar_whose_heap_is_full_answers_503_at_once_and_lives(short: Mesh) -> None:
    wait_until(lambda: short.knock("web.pem", "full").get("status") == 503, "requests are still let in")
    assert short.knock("web.pem", "full")["body"] == "envoy overloaded"


def test_the_edges_heap_is_bounded_in_the_running_envoy(mesh: Mesh) -> None:
    """Envoy counts what it watches: a monitor or an action that it does not have, it has no figure of."""
    figures: dict[str, str] = {}

    def measured() -> bool:
        said = requests.get(f"http://127.0.0.1:{mesh.port(9901)}/stats", timeout=10).text
        figures.update(line.split(": ", 1) for line in said.splitlines() if line.startswith("overload."))
        return 0 < int(figures["overload.envoy.resource_monitors.fixed_heap.pressure"]) < 90  # per cent

    wait_until(measured, "the heap is not watched")
    for action in ("shrink_heap", "stop_accepting_requests"):
        assert figures[f"overload.envoy.overload_actions.{action}.active"] == "0"
