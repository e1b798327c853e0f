"""Which containers an interrupted Terraform left without a record, and which are none of our business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from karst.containers import Member
from karst.errors import KarstError
from karst.leftovers import recorded, unrecorded


def _member(name: str, role: str, pod: str, *, state: str = "running", networks: tuple[str, ...] = ()) -> Member:
    return Member(name, name, "web", role, "r", "g", state, 1, pod, networks=networks)


def _state(path: Path, ids: list[str]) -> Path:
    """As Terraform writes it, with an object that is to be removed (deposed) beside the current one."""
    pods = [{"attributes": {"id": one}} for one in ids[:-1]] + [{"deposed": "8c", "attributes": {"id": ids[-1]}}]
    network = {"type": "docker_network", "instances": [{"attributes": {"id": "net"}}]}
    path.write_text(json.dumps({"resources": [{"type": "docker_container", "instances": pods}, network]}))
    return path


def test_what_the_state_knows_is_left_alone_also_what_terraform_is_about_to_remove(tmp_path: Path) -> None:
    known = recorded(_state(tmp_path / "state", ["new", "old"]))
    members = [_member("new", "pod", "new", networks=("net",)), _member("old", "pod", "old", networks=("net",))]
    assert unrecorded(members, known) == []


def test_a_whole_unrecorded_pod_on_the_stacks_network_counts(tmp_path: Path) -> None:
    """Its app and sidecar are on no network of their own: their pod's counts."""
    known = recorded(_state(tmp_path / "state", ["new", "old"]))
    lost = [_member("p", "pod", "p", networks=("net",)), _member("a", "app", "p"), _member("s", "sidecar", "p")]
    assert unrecorded(lost, known) == lost


def test_a_running_stack_of_the_same_name_on_another_network_is_somebody_elses(tmp_path: Path) -> None:
    """What does not run is nobody's traffic, and goes."""
    known = recorded(_state(tmp_path / "state", ["new", "old"]))
    theirs = [_member("p", "pod", "p", networks=("other",)), _member("a", "app", "p")]
    dead = _member("d", "pod", "d", state="created", networks=("other",))
    assert unrecorded([*theirs, dead], known) == [dead]


def test_an_absent_or_empty_state_knows_nothing_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    """Nothing is removed on the word of a file that cannot be read."""
    path = tmp_path / "state"
    assert recorded(path) == {}
    path.write_text("")
    assert recorded(path) == {}
    path.write_text('{"resources": [{')
    with pytest.raises(KarstError, match="nothing was removed"):
        recorded(path)
