"""What heal does about findings, and in which order."""

from __future__ import annotations

from karst import findings, heal
from karst.containers import Member
from karst.deployed import Recorded
from karst.findings import ERROR, WARNING, Finding, Look


def _member(service: str, role: str, generation: str = "new") -> Member:
    identifier = f"{service}-{role}-{generation}"
    return Member(identifier, identifier, service, role, "", generation, "running", 0, f"{service}-pod-{generation}")


def _look(*members: Member) -> Look:
    record = [Recorded(m.id, m.service, m.role, False, {}) for m in members if m.generation == "new"]
    return Look(list(members), {m.id: {} for m in members}, record, True)


def _names(steps: list[heal.Step]) -> list[str]:
    return [f"{step.action} {step.name}" for step in steps]


WEB = [_member("web", role) for role in ("pod", "app", "sidecar")]
API = [_member("api", role) for role in ("pod", "app", "sidecar")]
EDGE = _member("edge", "edge")


def test_a_pods_restart_brings_app_and_sidecar_along_and_the_edge_comes_first() -> None:
    problems = [
        Finding("member_stopped", "web", ERROR, "", findings.RESTART, "web-pod-new"),
        Finding("edge_down", "", ERROR, "", findings.RESTART, EDGE.id),
    ]
    assert _names(heal.steps(_look(*WEB, EDGE), problems)) == [
        "restart edge-edge-new",
        "restart web-pod-new",
        "restart web-app-new",
        "restart web-sidecar-new",
    ]


def test_one_orphan_is_restarted_alone() -> None:
    problems = [Finding("orphaned", "web", ERROR, "", findings.RESTART, "web-sidecar-new")]
    assert _names(heal.steps(_look(*WEB), problems)) == ["restart web-sidecar-new"]


def test_a_service_with_a_missing_part_is_left_to_a_deploy_and_the_others_are_not() -> None:
    problems = [
        Finding("member_missing", "web", ERROR, "", findings.DEPLOY),
        Finding("orphaned", "web", ERROR, "", findings.RESTART, "web-app-new"),
        Finding("orphaned", "api", ERROR, "", findings.RESTART, "api-app-new"),
    ]
    assert _names(heal.steps(_look(*WEB, *API), problems)) == ["restart api-app-new"]


def test_many_certificates_are_renewed_at_once() -> None:
    problems = [Finding("certificate_due", name, WARNING, "", findings.RENEW) for name in ("web", "api")]
    assert [step.action for step in heal.steps(_look(*WEB, *API), problems)] == ["renew"]


def test_leftovers_go_last_and_sidecars_first_among_them() -> None:
    """A sidecar is drained; its app and its network must still be there."""
    old = [_member("web", role, "old") for role in ("pod", "app", "sidecar")]
    problems = [Finding("leftover", "web", WARNING, "", findings.REMOVE, m.id) for m in old]
    problems.append(Finding("orphaned", "web", ERROR, "", findings.RESTART, "web-app-new"))
    first, last = heal.removals_last(heal.steps(_look(*WEB, *old), problems))
    assert _names(first) == ["restart web-app-new"]
    assert _names(last) == ["remove web-sidecar-old", "remove web-app-old", "remove web-pod-old"]


def test_an_older_generation_is_no_leftover_while_the_newest_does_not_serve() -> None:
    problems = [
        Finding("leftover", "web", WARNING, "", findings.REMOVE, "web-pod-old"),
        Finding("leftover", "api", WARNING, "", findings.REMOVE, "api-pod-old"),
    ]
    weighed = findings.weigh(problems, lambda service: service == "api")
    assert [(f.code, f.service, f.fix) for f in weighed] == [
        ("leftover", "api", findings.REMOVE),
        ("older_serves", "web", findings.DEPLOY),
    ]


def test_start_times_are_compared_to_the_nanosecond() -> None:
    """Docker leaves trailing zeros out, and .9 is later than .10."""
    times = {"web-pod-new": "2026-01-01T00:00:00.10Z", "web-app-new": "2026-01-01T00:00:00.9Z"}
    seen = _look(*WEB)
    seen.inspected.update({name: {"State": {"StartedAt": at}} for name, at in times.items()})
    assert findings.started(seen, WEB[0]) < findings.started(seen, WEB[1])


def test_keys_are_delivered_before_what_waits_for_them_is_restarted() -> None:
    problems = [
        Finding("edge_down", "", ERROR, "", findings.RESTART, EDGE.id),
        Finding("keys_missing", "", ERROR, "", findings.DELIVER, EDGE.id),
        Finding("orphaned", "web", ERROR, "", findings.RESTART, "web-sidecar-new"),
        Finding("keys_missing", "web", ERROR, "", findings.DELIVER, "web-pod-new"),
    ]
    assert _names(heal.steps(_look(*WEB, EDGE), problems)) == [
        "deliver edge-edge-new",
        "restart edge-edge-new",
        "deliver web-pod-new",
        "restart web-sidecar-new",
    ]
