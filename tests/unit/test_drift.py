"""What counts as drift, and what does not."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from admin.cli import drift as command
from admin.cli.lock import exclusive, undisturbed
from karst import drift, findings
from karst.containers import Member
from karst.deployed import applied, recorded
from karst.errors import BusyError, KarstError
from karst.findings import Finding, Look
from karst.identity import app_secrets
from karst.identity.store import Store
from karst.stack import Stack, resolve

NETWORK = "iacnet-shown"


def _object(kind: str, name: str, key: str | None = None, /, **attributes: Any) -> dict[str, Any]:
    return {"mode": "managed", "type": kind, "name": name, "instances": [{"index_key": key, "attributes": attributes}]}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """One service `web` as an apply left it in the state."""
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    found = resolve(name="shown", list_file=str(tmp_path / "repos.yaml"))
    found.home.mkdir()
    write_state(found)
    return found


def write_state(stack: Stack, **made_of: str) -> None:
    web = {"revision": "a" * 40, "slug": "gh:acme/web", "made_of": made_of}
    state = {
        "version": 4,
        "outputs": {"services": {"value": {"web": web}}},
        "resources": [
            _object("docker_network", "mesh", id="net1"),
            _object("docker_container", "edge", id="edge1"),
            *(_object("docker_container", role, "web", id=f"web-{role}") for role in ("pod", "app", "sidecar")),
            _object("docker_image", "infra", "runner", name="karstkit/runner:1", image_id="sha256:r"),
            _object("docker_image", "app", "web", name="shown/web:1", image_id="sha256:w"),
            {"mode": "data", "type": "external", "name": "fetch", "instances": [{"attributes": {"id": "-"}}]},
        ],
    }
    stack.state_file.write_text(json.dumps(state))


class Engine:
    """Answers what the drift asks an engine; what a test changes is what somebody changed by hand."""

    def __init__(self) -> None:
        self.api = self
        self.rows = [self.row(one, "web", one.partition("-")[2]) for one in ("web-pod", "web-app", "web-sidecar")]
        self.rows.append(self.row("edge1", "edge", "edge"))
        self.attached = {"web-pod": {"Name": "web-pod-1"}, "edge1": {"Name": "shown-edge"}}
        self.tags = {"karstkit/runner:1": "sha256:r", "shown/web:1": "sha256:w"}
        self.network = "net1"

    @staticmethod
    def row(identifier: str, service: str, role: str) -> dict[str, Any]:
        labels = {"karst.stack": "shown", "karst.service": service, "karst.role": role}
        return {"Id": identifier, "Names": [f"/{identifier}"], "State": "running", "Labels": labels, "Created": 1}

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return self.rows

    def images(self) -> list[dict[str, Any]]:
        return [{"Id": identifier, "RepoTags": [tag]} for tag, identifier in self.tags.items()]

    def networks(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Name": NETWORK, "Id": self.network}]

    def inspect_network(self, wanted: str) -> dict[str, Any]:
        import docker.errors

        if wanted not in (self.network, NETWORK):
            raise docker.errors.NotFound("no such network")
        return {"Containers": self.attached}

    def inspect_container(self, wanted: str) -> dict[str, Any]:
        labels = next((row["Labels"] for row in self.rows if row["Id"] == wanted), {})
        return {"Config": {"Labels": labels}}


def look(stack: Stack, engine: Engine, **networks: list[str]) -> Look:
    """As findings.look has it; ``networks``: names of those that a member is on beside the stack's."""
    members = [
        Member(
            row["Id"], row["Id"], row["Labels"]["karst.service"], row["Labels"]["karst.role"], "", "", "running", 0, ""
        )
        for row in engine.rows
    ]
    on = {m.id: [NETWORK, *networks.get(m.role, [])] if m.role in ("pod", "edge") else [] for m in members}
    inspected = {m.id: {"NetworkSettings": {"Networks": {name: {} for name in on[m.id]}}} for m in members}
    return Look(members, inspected, recorded(stack), True)


def codes(stack: Stack, engine: Engine, found: list[Finding] | None = None, **networks: list[str]) -> list[str]:
    seen = drift.known(look(stack, engine, **networks))
    store = Store(stack.secrets_dir)
    return [
        f"{one.service}:{one.code}"
        for one in drift.differences(stack, applied(stack), seen, found or [], store, engine)
    ]


def test_what_an_apply_left_is_no_drift(stack: Stack) -> None:
    assert codes(stack, Engine()) == []


def test_what_health_finds_is_drift_too(stack: Stack) -> None:
    gone = Finding("member_missing", "web", findings.ERROR, "its app container is gone", findings.DEPLOY)
    assert codes(stack, Engine(), [gone]) == ["web:member_missing"]


@pytest.mark.parametrize(
    ("labels", "fix"),
    [
        ({"karst.stack": "shown", "karst.service": "ghost", "karst.role": "pod"}, "deploy"),
        ({"karst.stack": "shown"}, ""),
    ],
)
def test_a_container_with_our_labels_that_no_deploy_made_is_told(
    stack: Stack, labels: dict[str, str], fix: str
) -> None:
    """A service that nobody deployed is a stranger; nothing of it is missing."""
    engine = Engine()
    engine.rows.append({"Id": "x", "Names": ["/mine"], "State": "running", "Labels": labels, "Created": 1})
    last = applied(stack)
    assert last is not None
    [found] = drift._containers(engine.rows, last, set())
    assert (found.code, found.fix, found.container) == ("unknown_container", fix, "x")
    assert "`mine` (running)" in found.message
    assert drift._containers(engine.rows, last, {"x"}) == []


def test_a_service_that_no_apply_made_is_left_out_of_the_look(stack: Stack) -> None:
    engine = Engine()
    engine.rows.append(engine.row("x", "ghost", "pod"))
    assert look(stack, engine).services() == ["ghost", "web"]
    assert drift.known(look(stack, engine)).services() == ["web"]


def test_who_does_not_belong_on_the_network_is_told(stack: Stack) -> None:
    engine = Engine()
    engine.attached["y"] = {"Name": "debug"}
    assert codes(stack, engine) == [":stranger"]
    # One of ours is told of as an unknown container, once.
    engine.rows.append(engine.row("y", "web", "app"))
    assert codes(stack, engine) == [":unknown_container"]


def test_a_pod_or_an_edge_on_another_network_is_told(stack: Stack) -> None:
    assert codes(stack, Engine(), pod=["bridge"], edge=["bridge"]) == [":other_network", "web:other_network"]


def test_a_network_that_was_made_again_is_another_one(stack: Stack) -> None:
    engine = Engine()
    engine.network = "net2"
    assert codes(stack, engine) == [":network_replaced"]


def test_images_that_were_removed_or_replaced_are_told(stack: Stack) -> None:
    engine = Engine()
    del engine.tags["karstkit/runner:1"]
    engine.tags["shown/web:1"] = "sha256:other"
    assert codes(stack, engine) == [":image_missing", "web:image_retagged"]


def test_secrets_that_were_changed_on_the_disk_are_told(stack: Stack) -> None:
    stack.secrets_dir.mkdir()
    store = Store(stack.secrets_dir)
    given = app_secrets.hand_over(store, {"web": ["TOKEN"]}, environ={"TOKEN": "one"})
    write_state(stack, secrets=given["web"]["app_secrets_digest"])
    assert codes(stack, Engine()) == []
    path = stack.secrets_dir / "app" / "web" / "TOKEN"
    path.chmod(0o600)
    path.write_text("two")
    assert codes(stack, Engine()) == ["web:secrets_changed"]
    path.unlink()
    assert codes(stack, Engine()) == ["web:secrets_changed"]


def test_an_apply_that_was_cut_off_is_told(stack: Stack) -> None:
    stack.unfinished_file.write_text("1")
    assert codes(stack, Engine()) == [":unfinished"]


def test_a_lock_file_that_moved_on_is_pending_and_no_drift(stack: Stack) -> None:
    """Neither the branch at the host nor an entry of another slug is asked about."""
    entry = {"slug": "gh:acme/web", "ref": "refs/heads/main", "revision": "b" * 40, "tree": "c" * 64}
    lock = stack.list_file.with_name("repos.lock.yaml")
    lock.write_text(json.dumps({"version": 1, "services": {"web": entry}}))
    last = applied(stack)
    assert drift.pending(stack, last) == [{"service": "web", "deployed": "a" * 40, "locked": "b" * 40}]
    assert "the lock file has moved on to bbbbbbbbbbbb, and aaaaaaaaaaaa is deployed" in drift.waiting(
        drift.pending(stack, last)[0]
    )
    lock.write_text(json.dumps({"version": 1, "services": {"web": entry | {"slug": "gh:acme/other"}}}))
    assert drift.pending(stack, last) == []


def test_a_state_that_cannot_be_read_is_an_error_and_not_no_drift(stack: Stack) -> None:
    stack.state_file.write_text('{"version": 4, "resou')
    with pytest.raises(KarstError, match="cannot be read"):
        command.show(stack, as_json=True, wait=0)


# ------------------------------------------------------------------------------------------------- beside other runs
def test_a_run_under_way_is_named_and_not_waited_for(stack: Stack) -> None:
    with exclusive(stack, "deploy"), pytest.raises(BusyError, match="`iac deploy`"):
        undisturbed(stack, lambda: pytest.fail("read although a run changes the stack"))


def test_a_run_that_ends_in_time_is_waited_for(stack: Stack) -> None:
    begun, said = threading.Event(), list[str]()

    def work() -> None:
        with exclusive(stack, "deploy"):
            begun.set()
            time.sleep(0.25)

    other = threading.Thread(target=work)
    other.start()
    begun.wait()
    assert undisturbed(stack, lambda: 7, wait=10, tell=said.append) == 7
    other.join()
    assert len(said) == 1


def test_what_was_read_while_a_run_came_and_went_is_read_again(stack: Stack) -> None:
    times = []

    def read() -> int:
        times.append(1)
        if len(times) == 1:
            write_state(stack, secrets="x")
            stack.state_file.with_name("new").write_text(stack.state_file.read_text())
            stack.state_file.with_name("new").replace(stack.state_file)
        return len(times)

    assert undisturbed(stack, read) == 2


def test_looking_does_not_keep_a_run_from_beginning(stack: Stack) -> None:
    def read() -> bool:
        if not stack.home.joinpath("once").exists():
            stack.home.joinpath("once").touch()
            with exclusive(stack, "deploy"):
                pass
        return True

    assert undisturbed(stack, read)


def test_a_processor_limit_is_the_one_that_was_given_not_the_one_that_the_provider_read_back(stack: Stack) -> None:
    """It reads 0.05 as 0.1; the module's output has what was given."""
    write_state(stack, cpus="0.05")
    found = {one.role: (one.attributes.get("cpus"), one.address) for one in recorded(stack) or []}
    assert found["app"] == ("0.05", 'docker_container.app["web"]')
    assert found["pod"] == (None, 'docker_container.pod["web"]')
    assert found["edge"] == (None, "docker_container.edge")
