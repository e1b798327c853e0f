"""What the sidecars count, asked through the edge as `iac stats` and `iac graph` do."""

from __future__ import annotations

from karst import graph, stats
from karst.stack import resolve
from karst.stats import Sample, Traffic
from tests.support.mesh import Mesh

RULES = {"web": ["*"], "api": ["*", "edge"], "no": ["api"]}
PODS: dict[str, list[str]] = {name: [] for name in RULES}
WEB, EDGE = "spiffe://karst.local/svc/web", "spiffe://karst.local/ops/edge"


def _between(before: Sample | None, now: Sample | None) -> tuple[dict[str, Traffic], dict[str, Traffic]]:
    """What one sidecar has served and called between two looks."""
    assert before is not None
    assert now is not None
    served, called = stats.difference(now.served, before.served), stats.difference(now.called, before.called)
    assert served is not None
    assert called is not None
    return served, called


def test_each_call_is_counted_by_both_sides_with_who_and_whom(mesh: Mesh) -> None:
    """And nothing else is: not the kit's own questions, not a caller who says he was one of them."""
    stack = resolve(name="figures", metrics_port=mesh.port(9901))
    before = stats.look(stack, PODS)
    assert mesh.call("web", "http://api/one")["status"] == 200
    assert mesh.call("web", "http://api/two", headers={"x-karst-own": "1"})["status"] == 200
    assert mesh.call("web", "http://no/", method="POST")["status"] == 403
    now = stats.look(stack, PODS)
    _, called = _between(before["web"], now["web"])
    served, _ = _between(before["api"], now["api"])
    refused, _ = _between(before["no"], now["no"])
    assert (called["api"].requests, called["api"].errors, called["no"].refused) == (2, 0, 1)
    assert (served[WEB].requests, refused[WEB].refused) == (2, 1)
    assert served.get(EDGE, Traffic()).requests == 0, "the look itself"
    assert now["no"] is not None
    assert stats.summary(now["no"], before["no"])["rbac_denied"] >= 1
    did = {(edge["from"], edge["to"]): edge for edge in graph.draw(RULES, before, now)["edges"] if edge["did"]}
    assert (did["web", "api"]["may"], did["web", "no"]["may"]) == (True, False)
    assert did["web", "api"]["rate"] > 0
