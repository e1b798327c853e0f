"""`iac status`: each pod once, with its place in the state, and how the last run ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from admin.cli.status import collect, note_run
from karst.containers import Member
from karst.stack import Stack, resolve


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """One pod is current, one is still to be removed; the state knows no other."""
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    found = resolve(name="shown", list_file=str(tmp_path / "repos.yaml"))
    found.home.mkdir()
    pods = [{"attributes": {"id": "new"}}, {"deposed": "8c1f", "attributes": {"id": "old"}}]
    found.state_file.write_text(json.dumps({"resources": [{"type": "docker_container", "instances": pods}]}))
    return found


def _pod(pod: str, created: int, state: str = "running") -> list[Member]:
    return [
        Member(f"{pod}-app", pod, "web", "app", "r1", f"g-{pod}", state, created + 1, pod),
        Member(pod, pod, "web", "pod", "r1", f"g-{pod}", "running", created, pod),
    ]


def test_each_pod_has_its_place(stack: Stack) -> None:
    """Newest first: lost by a killed Terraform, current, and replaced but not yet removed."""
    found = collect(stack, [*_pod("old", 1), *_pod("lost", 3), *_pod("new", 2, "restarting")])
    assert [(row["generation"], row["place"]) for row in found["services"]] == [
        ("g-lost", "unrecorded"),
        ("g-new", "current"),
        ("g-old", "replaced"),
    ]
    assert found["services"][1]["containers"] == {"pod": "running", "app": "restarting"}
    assert (found["holder"], found["last_run"], found["cut_off"], found["saved_plan"]) == (None, None, False, False)


def test_the_last_run_and_its_holds_are_told(stack: Stack) -> None:
    note_run(stack, run="deploy", outcome="failed", error="no ref `v9`", held={"web": {"reason": "no ref `v9`"}})
    stack.unfinished_file.write_text("1")
    found = collect(stack, _pod("new", 1))
    assert {key: found["last_run"][key] for key in ("run", "outcome", "error")} == {
        "run": "deploy",
        "outcome": "failed",
        "error": "no ref `v9`",
    }
    assert found["services"][0]["held"] == "no ref `v9`"
    assert found["cut_off"]


def test_a_rollback_is_told(stack: Stack) -> None:
    entry = {"slug": "gh:a/web", "ref": "refs/heads/main", "revision": "a" * 40, "tree": "b" * 64}
    entry |= {"rollback": "g-new", "entry": {"slug": "gh:a/web"}}
    lock = stack.list_file.with_name("repos.lock.yaml")
    lock.write_text(json.dumps({"version": 1, "services": {"web": entry}}))
    assert collect(stack, _pod("new", 1))["services"][0]["rolled_back"] is True
