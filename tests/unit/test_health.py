"""What is a service of the stack, and which of its pods speaks for it."""

from __future__ import annotations

from karst.containers import Member
from karst.health import ask, judge
from karst.probe import Health
from karst.stack import resolve

OLD = Health("shop", "SERVING", revision="old")


def test_one_healthy_pod_speaks_for_itself() -> None:
    assert judge([OLD]) == OLD


def test_after_a_failed_deploy_the_older_one_speaks_and_says_what_is_wrong_with_the_newest() -> None:
    """Somebody who looks at the table must see both: that it serves, and that the deploy did not go through."""
    answer = judge([Health("shop", "FAILED", revision="new", reason="exited with code 1"), OLD])
    assert (answer.status, answer.revision) == ("SERVING", "old")
    assert answer.reason == "an older generation serves; the newest is FAILED: exited with code 1"


def test_while_the_older_one_is_still_being_stopped_the_newest_speaks() -> None:
    new = Health("shop", "SERVING", revision="new")
    assert judge([new, OLD]) == new


def test_when_none_is_healthy_the_newest_says_why() -> None:
    new = Health("shop", "FAILED", revision="new")
    assert judge([new, Health("shop", "UNREACHABLE")]) == new


def test_a_container_that_somebody_gave_our_labels_is_no_service() -> None:
    """It has no generation. Under the name of a service that there is, it looks like one of its pods."""

    def member(name: str, service: str, role: str, generation: str = "") -> Member:
        return Member(name, name, service, role, "", generation, "exited", 1, name)

    listed = [member("mine", "ghost", "app"), member("pod", "web", "pod", "g1"), member("old", "web", "pod")]
    assert [(one.service, one.status) for one in ask(resolve(name="labels"), listed=listed)] == [("web", "UNREACHABLE")]
