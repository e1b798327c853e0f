"""Several pods of one service: what each part of the kit makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from karst import discovery, findings, heal, health, plans, stats
from karst.containers import Member
from karst.deployed import Recorded
from karst.errors import UsageError
from karst.findings import ERROR, Finding, Look
from karst.gate import Gate, older_than, to_withdraw
from karst.probe import Health
from karst.replicas import number_of, service_of
from karst.stack import resolve
from karst.stats import Sample, Traffic


def pod(name: str, generation: str = "new", created: int = 2, state: str = "running") -> list[Member]:
    """The three containers of a pod of `web`."""
    return [
        Member(f"{name}-{role}", f"{name}-{role}", "web", role, "r", generation, state, created, f"{name}-pod")
        for role in ("pod", "app", "sidecar")
    ]


def gate(*names: str) -> Gate:
    pods = [{"id": f"{name}-pod", "name": f"web-{name}", "address": "10.0.0.9"} for name in names]
    return Gate.from_env(
        {"KARST_SERVICE": "web", "KARST_STACK": "s", "KARST_PODS": json.dumps(pods), "KARST_SECRETS_DIR": "/s"}
    )


@pytest.mark.parametrize(("key", "service", "number"), [("web", "web", 1), ("web~2", "web", 2), ("web~12", "web", 12)])
def test_the_first_pod_has_the_services_name(key: str, service: str, number: int) -> None:
    assert (service_of(key), number_of(key)) == (service, number)


# ---------------------------------------------------------------------------------------------------------- the gate
def test_without_an_edge_each_pod_is_asked_at_its_own_address() -> None:
    doors = [one.address for one in gate("a", "b").pods]
    assert [(door.host, door.port, door.container) for door in doors] == [
        ("10.0.0.9", 15000, "a-pod"),
        ("10.0.0.9", 15000, "b-pod"),
    ]


@pytest.mark.parametrize("pods", ["", "{}", "[1]", '[{"id": "a"}]'])
def test_a_gate_that_is_told_no_pods_says_so(pods: str) -> None:
    with pytest.raises(UsageError, match="the gate needs"):
        Gate.from_env({"KARST_SERVICE": "web", "KARST_STACK": "s", "KARST_PODS": pods, "KARST_SECRETS_DIR": "/s"})


def test_one_bad_pod_of_a_new_generation_takes_all_of_it_out_of_rotation() -> None:
    """The old generation goes on alone: half of a bad version must not go on serving."""
    asked = gate("a", "b")
    found = [*pod("a"), *pod("b"), *pod("old", "old", 1)]
    assert to_withdraw(asked, found, [asked.pods[0]]) == {"a-pod", "b-pod"}


def test_a_bad_pod_that_was_only_added_leaves_the_others_in() -> None:
    asked = gate("a", "b")
    assert to_withdraw(asked, [*pod("a", created=1), *pod("b")], [asked.pods[1]]) == {"b-pod"}


def test_a_bad_pod_beside_one_that_is_too_many_leaves_the_others_in() -> None:
    """From three to two, while one of the two is down: that is no new generation."""
    asked = gate("a", "b")
    found = [*pod("a"), *pod("b"), *pod("c")]
    assert to_withdraw(asked, found, [asked.pods[1]]) == {"b-pod"}


def test_on_the_first_deploy_the_good_pods_serve() -> None:
    asked = gate("a", "b")
    stopped = pod("old", "old", 1, state="exited")
    assert to_withdraw(asked, [*pod("a"), *pod("b"), *stopped], [asked.pods[0]]) == {"a-pod"}


def test_what_is_drained_is_all_that_is_not_wanted_and_no_pod_that_came_later() -> None:
    found = [*pod("a", created=1), *pod("b", created=5), *pod("c", created=3), *pod("later", created=6)]
    assert {m.pod_id for m in older_than(gate("a", "b"), found)} == {"c-pod"}


# ------------------------------------------------------------------------------------------------------------ health
def test_a_service_with_one_sick_pod_serves_and_is_not_whole() -> None:
    told = health.combine(
        [Health("web", "SERVING"), Health("web", "FAILED", reason="exited"), Health("web", "SERVING")]
    )
    assert (told.status, told.healthy, told.whole) == ("SERVING", True, False)
    assert told.reason == "2 of 3 pods are healthy; one is FAILED: exited"
    assert health.combine([Health("web", "SERVING")] * 3).whole
    assert not health.combine([Health("web", "FAILED")] * 2).healthy


def test_findings_name_the_pod_and_heal_restarts_that_one_alone() -> None:
    members = [*pod("a"), *pod("b")]
    record = [Recorded(m.id, "web", m.role, False, {}, number) for number, m in enumerate_pods(members)]
    seen = Look(members[:5], {m.id: {} for m in members}, record, True)
    assert seen.current("web") == [{m.role: m.id for m in members[:3]}, {m.role: m.id for m in members[3:]}]
    problems = [Finding("orphaned", "web", ERROR, "", findings.RESTART, "b-app")]
    assert [step.name for step in heal.steps(Look(members, {}, record, True), problems)] == ["b-app"]
    without = Look([*pod("b"), *pod("a"), *pod("old", "old", 1)], {}, None, True)
    assert [one["pod"] for one in without.current("web")] == ["a-pod", "b-pod"], "by label, where there is no state"


def enumerate_pods(members: list[Member]) -> list[tuple[int, Member]]:
    return [(1 + index // 3, member) for index, member in enumerate(members)]


# ----------------------------------------------------------------------------------------------------- plans, figures
def _change(key: str, *actions: str, name: str = "docker_container.pod") -> dict[str, Any]:
    return {"address": f'module.m.{name}["{key}"]', "mode": "managed", "change": {"actions": list(actions)}}


def test_one_pod_more_is_an_update_of_the_service() -> None:
    plan = {
        "resource_changes": [
            _change("web", "no-op"),
            _change("web~2", "create"),
            _change("web", "create", "delete", name="terraform_data.gate"),
        ]
    }
    found = plans.summarize(plan)
    assert list(found) == ["web"]
    assert (found["web"]["action"], found["web"]["steps"]) == ("update", {"pod": "update", "gate": "replace"})


def test_a_new_generation_of_several_pods_is_one_replacement() -> None:
    plan = {"resource_changes": [_change(key, "create", "delete") for key in ("web", "web~2")]}
    assert plans.summarize(plan)["web"]["steps"] == {"pod": "replace"}


def test_figures_are_of_all_pods_of_the_newest_generation() -> None:
    members = [*pod("b"), *pod("a"), *pod("c", state="exited"), *pod("old", "old", 1)]
    assert stats.pods_of(members) == {"web": ["b-pod", "a-pod"]}
    caller = "spiffe://karst.local/svc/api"
    one = Sample(1.0, {"server.uptime": 9, "x": 1}, {caller: Traffic(3, 1, 0, {1000.0: 3})})
    two = Sample(2.0, {"server.uptime": 5, "x": 2}, {caller: Traffic(4, 0, 0, {1000.0: 1})}, {"db": Traffic(1)})
    both = stats.together([one, two])
    assert both == Sample(
        2.0, {"server.uptime": 5, "x": 3}, {caller: Traffic(7, 1, 0, {1000.0: 4})}, {"db": Traffic(1)}
    )
    assert stats.together([one, None]) is None, "half of the figures would look like fewer requests"


def test_prometheus_reads_each_pod_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asked by the service's name, the edge would give another pod's counters each time."""
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    stack = resolve(name="one")
    found = discovery.targets(stack, [*pod("b"), *pod("a"), *pod("old", "old", 1)])
    assert [(one["labels"]["instance"], one["labels"]["__metrics_path__"]) for one in found] == [
        ("a-pod", "/services/web/pods/a-pod/stats/prometheus"),
        ("b-pod", "/services/web/pods/b-pod/stats/prometheus"),
        ("edge", "/stats/prometheus"),
    ]
    [alone, _] = discovery.targets(stack, pod("a"))
    assert (alone["labels"]["instance"], alone["labels"]["__metrics_path__"]) == (
        "web",
        "/services/web/stats/prometheus",
    )
