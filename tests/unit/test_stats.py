"""What is read from the sidecars' counters, and what is computed of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from karst.errors import KarstError
from karst.stats import Sample, Traffic, difference, parse, parse_stats, summary, total

WEB, EDGE = "spiffe://karst.local/svc/web", "spiffe://karst.local/ops/edge"


def envoy(*entries: tuple[str, Any], times: dict[str, dict[float, int]] | None = None) -> str:
    """Envoy's own form: numbers one by one, histograms together in one entry without a name."""
    histograms = [
        {"name": name, "buckets": [{"upper_bound": b, "interval": 0, "cumulative": n} for b, n in buckets.items()]}
        for name, buckets in (times or {}).items()
    ]
    stats: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in entries]
    return json.dumps({"stats": [*stats, {"histograms": histograms}]})


def test_of_envoys_numbers_the_telling_ones_are_kept() -> None:
    text = "http.inbound.downstream_rq_total: 7\nserver.live: 1\ncluster.x.y: 3\n"
    text += "http.inbound.downstream_rq_time: P0(nan,1.0)\n"
    assert parse_stats(text) == {"http.inbound.downstream_rq_total": 7, "server.live": 1}


def test_requests_are_told_apart_by_caller_and_by_whose_fault_the_answer_is() -> None:
    """A 404 and a gRPC NOT_FOUND are answers; a 500 and a gRPC INTERNAL are errors; a 403 was refused."""
    sample = parse(
        envoy(
            (f"karst.served.from.{WEB}.code.200.grpc.", 5),
            (f"karst.served.from.{WEB}.code.404.grpc.", 1),
            (f"karst.served.from.{WEB}.code.200.grpc.5", 1),
            (f"karst.served.from.{WEB}.code.500.grpc.", 2),
            (f"karst.served.from.{WEB}.code.200.grpc.13", 3),
            (f"karst.served.from.{EDGE}.code.403.grpc.", 4),
            ("karst.called.to.no-1.code.503.grpc.14", 6),
        )
    )
    assert sample.served[WEB] == Traffic(12, 5, 0)
    assert sample.served[EDGE] == Traffic(4, 0, 4)
    assert sample.called == {"no-1": Traffic(6, 6, 0)}
    assert total(sample.served) == Traffic(16, 5, 4)


def test_times_are_interpolated_within_their_bucket_and_merged_over_callers() -> None:
    buckets = {1000.0: 0, 2000.0: 10, 5000.0: 10, 10000.0: 20}
    sample = parse(
        envoy(times={f"karst.served_us.from.{WEB}": buckets, f"karst.served_us.from.{EDGE}": {1000.0: 20, 2000.0: 20}})
    )
    assert sample.served[WEB].quantile(0.25) == 1.5
    assert sample.served[WEB].quantile(0.5) == 2.0
    assert sample.served[WEB].quantile(0.75) == 7.5
    assert Traffic().quantile(0.5) is None


def test_a_rate_needs_two_looks_at_the_same_sidecar() -> None:
    before = Sample(10.0, {}, {WEB: Traffic(100, 10)})
    now = Sample(12.0, {"http.inbound.rbac.denied": 3}, {WEB: Traffic(150, 11), EDGE: Traffic(10)})
    found = summary(now, before)
    assert (found["inbound"]["rate"], found["inbound"]["error_rate"], found["rbac_denied"]) == (30.0, 0.5, 3)
    assert summary(now, None)["inbound"]["rate"] is None
    replaced = Sample(12.0, {}, {WEB: Traffic(5)})
    assert summary(replaced, before)["inbound"]["rate"] is None, "a new pod counts from 0 again"
    assert difference({}, before.served) is None


def test_times_of_the_last_seconds_only_when_asked() -> None:
    before = Sample(0.0, {}, {WEB: Traffic(10, 0, 0, {1000.0: 10, 2000.0: 10})})
    now = Sample(5.0, {}, {WEB: Traffic(12, 0, 0, {1000.0: 10, 2000.0: 12})})
    assert summary(now, before)["inbound"]["p50_ms"] == 0.6
    assert summary(now, before, recent=True)["inbound"]["p50_ms"] == 1.5


def test_tls_failures_of_both_directions_are_one_number() -> None:
    numbers = {
        "listener.0.0.0.0_15000.ssl.connection_error": 1,
        "listener.0.0.0.0_15000.ssl.fail_verify_no_cert": 2,
        "cluster.DFPCluster_api_15000.ssl.fail_verify_san": 4,
        "listener.0.0.0.0_15000.ssl.handshake": 50,
    }
    sample = parse(envoy(*numbers.items()))
    assert sample.numbers == numbers
    assert summary(sample, None)["tls_failures"] == 7


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"stats": 3}', '{"stats": [{"name": 3}]}'])
def test_something_else_than_figures_is_one_sentence(text: str) -> None:
    with pytest.raises(KarstError, match="not what Envoy writes"):
        parse(text)
