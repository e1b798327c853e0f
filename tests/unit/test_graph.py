"""Who may call whom, and who did."""

from __future__ import annotations

from typing import Any

from karst.graph import dot, draw
from karst.stats import Sample, Traffic

RULES = {"web": ["*", "edge"], "api": ["web"], "db": []}


def spiffe(name: str) -> str:
    return f"spiffe://karst.local/{name if name.startswith('ops/') else f'svc/{name}'}"


def edges(graph: dict[str, Any], **wanted: bool) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (edge["from"], edge["to"]): edge
        for edge in graph["edges"]
        if all(edge[key] == value for key, value in wanted.items())
    }


def test_who_may_is_what_was_deployed() -> None:
    graph = draw(RULES, {}, {})
    assert {pair: edge["why"] for pair, edge in edges(graph, may=True).items()} == {
        ("api", "web"): "default",
        ("db", "web"): "default",
        ("edge", "web"): "expose",
        ("web", "api"): "allow",
    }
    assert {node["id"]: node["kind"] for node in graph["nodes"]}["edge"] == "edge"
    assert not edges(graph, did=True)


def test_who_did_is_counted_by_the_caller_and_where_it_cannot_by_the_called() -> None:
    """Only the caller knows of a call that never arrived; only the called knows of the front door."""
    now = {
        "web": Sample(5.0, {}, {spiffe("ops/edge"): Traffic(7)}, {"api": Traffic(5, 1), "nosuch": Traffic(2, 2)}),
        "api": Sample(5.0, {}, {spiffe("web"): Traffic(4), spiffe("db"): Traffic(3, 0, 3)}),
        "db": None,
    }
    graph = draw(RULES, {}, now)
    did = edges(graph, did=True)
    assert {pair: edge["requests"] for pair, edge in did.items()} == {
        ("edge", "web"): 7,
        ("web", "api"): 5,
        ("web", "nosuch"): 2,
        ("db", "api"): 3,
    }
    assert [pair for pair, edge in did.items() if not edge["may"]] == [("db", "api"), ("web", "nosuch")]
    assert {node["id"]: node["kind"] for node in graph["nodes"]}["nosuch"] == "unknown"
    assert all(edge["rate"] is None for edge in did.values())


def test_a_rate_is_of_the_time_between_two_looks_also_for_a_first_call() -> None:
    before = {"web": Sample(10.0, {}, {}, {"api": Traffic(100)})}
    now = {"web": Sample(12.0, {}, {}, {"api": Traffic(110, 2), "db": Traffic(4)})}
    found = edges(draw(RULES, before, now))
    assert (found["web", "api"]["rate"], found["web", "api"]["error_rate"]) == (5.0, 1.0)
    assert found["web", "db"]["rate"] == 2.0
    assert edges(draw(RULES, now, before))["web", "api"]["rate"] is None, "another pod counted"


def test_graphviz_marks_what_may_but_did_not_and_what_failed() -> None:
    now = {"web": Sample(1.0, {}, {}, {"api": Traffic(3), "db": Traffic(2, 0, 2)})}
    text = dot(draw(RULES, {}, now))
    assert '"edge" -> "web" [style="dashed"];' in text
    assert '"web" -> "api" [label="3 requests"];' in text
    assert '"web" -> "db" [color="red", label="2 requests, 2 failed"];' in text
