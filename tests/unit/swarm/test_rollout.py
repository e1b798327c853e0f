"""How a roll-out is judged from what a Swarm's managers say: done, under way, or taken back, and why."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import requests

from karst.errors import KarstError
from karst.swarm import rollout
from karst.swarm.rollout import Look

NEW, OLD = {"Image": "web:2"}, {"Image": "web:1"}


def task(number: int, spec: dict[str, str], state: str, desired: str = "running", err: str = "") -> dict[str, Any]:
    status = {"State": state, "Message": "started", **({"Err": err} if err else {})}
    whole = {"ID": f"t{number}", "CreatedAt": f"2026-01-01T00:00:{number:02}Z", "NodeID": "n1", "Status": status}
    return {**whole, "DesiredState": desired, "Spec": {"ContainerSpec": spec}}


def look(*tasks: dict[str, Any], spec: dict[str, str] = NEW, update: str = "", label: str = "r2") -> Look:
    service = {
        "Spec": {
            "Labels": {"karst.rollout": label, "karst.revision": "abc"},
            "Mode": {"Replicated": {"Replicas": 2}},
            "TaskTemplate": {"ContainerSpec": spec},
        },
        **({"UpdateStatus": {"State": update}} if update else {}),
    }
    return Look(service, tasks)


@pytest.mark.parametrize(
    ("seen", "done"),
    [
        (look(task(1, NEW, "running"), task(2, NEW, "running")), True),
        (look(task(1, NEW, "running"), task(2, NEW, "running"), task(3, OLD, "shutdown", "shutdown")), True),
        (look(task(1, NEW, "running"), task(2, NEW, "running"), update="completed"), True),
        (
            look(task(1, NEW, "running"), task(2, NEW, "running"), update="rollback_completed"),
            True,
        ),  # to what is wanted
        (look(task(1, NEW, "running"), task(2, NEW, "running"), update="updating"), False),
        (look(task(1, NEW, "running"), task(2, NEW, "starting")), False),
        (look(task(1, NEW, "running")), False),
        (look(task(1, OLD, "running"), task(2, OLD, "running")), False),
        (look(task(1, NEW, "running"), task(2, NEW, "running"), task(3, OLD, "running")), False),
    ],
)
def test_a_rollout_is_complete_when_every_task_is_the_new_one_and_runs(seen: Look, done: bool) -> None:
    assert seen.complete is done


class FakeApi:
    """A manager whose answers change with each look."""

    def __init__(self, looks: list[Look], log: bytes = b"") -> None:
        self.looks = looks
        self.log = log

    def inspect_service(self, name: str) -> Any:
        assert name == "shop_web"
        return self.looks[0].service

    def tasks(self, filters: dict[str, str] | None = None) -> Any:
        return (self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]).tasks

    def inspect_node(self, identifier: str) -> Any:
        return {"Description": {"Hostname": "b"}}

    def _url(self, path: str, *values: str) -> str:
        return path.format(*values)

    def _get(self, path: str, params: dict[str, int]) -> Any:
        if not self.log:
            raise requests.Timeout
        answer = requests.Response()
        answer._content = self.log
        return answer

    def _raise_for_status(self, answer: Any) -> None:
        """Everything is found."""


class FakeDocker:
    """A client of it."""

    def __init__(self, looks: list[Look], log: bytes = b"") -> None:
        self.api = FakeApi(looks, log)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "POLL_SECONDS", 0)


def wait(*looks: Look, log: bytes = b"", timeout: float = 60) -> None:
    rollout.wait(FakeDocker(list(looks), log), "shop", "web", "r2", timeout)


def refused(*looks: Look, **options: Any) -> KarstError:
    with pytest.raises(KarstError) as caught:
        wait(*looks, **options)
    return caught.value


def test_it_waits_through_an_update_and_says_where_the_tasks_are(capsys: pytest.CaptureFixture[str]) -> None:
    both = (task(3, NEW, "running"), task(4, NEW, "running"))
    wait(look(task(1, OLD, "running"), task(2, OLD, "running")), look(*both, update="updating"), look(*both))
    assert capsys.readouterr().err == "web: 2 tasks at abc on b\n"


def frame(text: str) -> bytes:
    return struct.pack(">BxxxI", 2, len(text)) + text.encode()


def test_an_update_that_was_taken_back_is_told_with_the_runners_words_and_the_swarms() -> None:
    failed = task(3, NEW, "failed", "shutdown", "task: non-zero exit (143): unhealthy container")
    log = frame("Traceback\n") + frame("karst: FAILED: RuntimeError: no database\n")
    back = look(
        task(1, OLD, "running"), task(2, OLD, "running"), failed, spec=OLD, label="r1", update="rollback_completed"
    )
    err = refused(look(task(1, OLD, "running"), task(2, OLD, "running"), update="updating"), back, log=log)
    first = err.message.splitlines()[0]
    assert first.startswith("web is not healthy: FAILED, RuntimeError: no database; ")
    assert "on b: task: non-zero exit (143)" in first
    assert "  | Traceback" in err.message
    assert "the Swarm went back to the version before" in err.hint


def test_failures_of_earlier_rollouts_are_nobodys_fault_now() -> None:
    old = task(1, NEW, "failed", "shutdown", "task: non-zero exit (1)")
    wait(look(old), look(old, task(2, NEW, "running"), task(3, NEW, "running")))


def test_a_first_version_that_fails_is_told_at_once() -> None:
    err = refused(look(), look(task(1, NEW, "failed", "shutdown", "unhealthy container")))
    assert "web is not healthy: the Swarm says of its task on b: unhealthy container" in err.message
    assert "no version before it" in err.hint


def test_a_task_that_nodes_refuse_is_tried_on_others_first() -> None:
    rejected = [task(n, NEW, "rejected", "shutdown", "No such image: web:2") for n in (1, 2, 3)]
    assert "No such image" in refused(look(), look(*rejected[:2]), look(*rejected)).message


def test_a_task_without_a_place_is_told_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "PULL_SECONDS", 0.0)
    monkeypatch.setattr(rollout, "TASK_SECONDS", 0.0)
    pending = {**task(1, NEW, "pending", err="no suitable node (insufficient resources on 3 nodes)"), "NodeID": ""}
    assert "its task: no suitable node" in refused(look(pending), timeout=0).message


def test_of_a_node_that_does_not_answer_there_is_no_log() -> None:
    err = refused(look(), look(task(1, NEW, "failed", "shutdown", "gone")), log=b"")
    assert "last" not in err.message


def test_a_service_that_is_gone_is_waited_for_until_no_living_node_runs_its_tasks() -> None:
    """Of two stacks' services with one name, and of a node that is down, nothing is waited for."""

    def row(stack: str, node: str, state: str) -> dict[str, Any]:
        labels = {"karst.stack": stack, "karst.service": "web"}
        return {"NodeID": node, "Spec": {"ContainerSpec": {"Labels": labels}}, "Status": {"State": state}}

    class Api:
        left = [[row("shop", "n1", "running")], [row("shop", "n1", "shutdown")]]
        looks = 0

        def services(self) -> Any:
            return [{"Spec": {"Name": "shop_web2"}}]

        def nodes(self) -> Any:
            return [{"ID": "n1", "Status": {"State": "ready"}}, {"ID": "n2", "Status": {"State": "down"}}]

        def tasks(self) -> Any:
            self.looks += 1
            return [*self.left.pop(0), row("shop", "n2", "running"), row("other", "n1", "running")]

    docker = type("Docker", (), {"api": Api()})()
    rollout.await_end(docker, "shop", "web")
    assert docker.api.looks == 2
