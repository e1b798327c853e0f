"""What a deploy with nothing to do goes by: every change that matters is seen, and in doubt it plans."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karst import discovery, settled
from karst.identity import handle
from karst.stack import Stack, resolve

ROWS: list[dict[str, Any]] = [
    {
        "Id": role,
        "Names": [f"/{role}"],
        "ImageID": "sha256:1",
        "State": "running",
        "Created": 1,
        "Labels": {"karst.stack": "quick", "karst.service": "web", "karst.role": role, "karst.generation": "g1"},
        "HostConfig": {"NetworkMode": "net"},
        "NetworkSettings": {"Networks": {"iacnet": {"NetworkID": "n1"}}},
        "Ports": [],
    }
    for role in ("pod", "app", "sidecar", "edge")
]


IMAGE = {
    "type": "docker_image",
    "instances": [{"attributes": {"name": "quick/web:1", "image_id": "sha256:1"}}],
}


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The engine's images; a test changes them."""
    found = {"quick/web:1": "sha256:1", "another:latest": "sha256:2"}
    monkeypatch.setattr("karst.engine_list.image_ids", lambda: found)
    return found


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine lists; a test changes it."""
    found: list[dict[str, Any]] = json.loads(json.dumps(ROWS))
    monkeypatch.setattr(settled, "_rows", lambda _stack: found)
    return found


KIT = settled.ROOT


@pytest.fixture(autouse=True)
def kit(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit of one file: all of the real one is hashed by the test that is about it."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "modules").mkdir()
    (folder / "modules" / "pods.tf").write_text("# one")
    monkeypatch.setattr(settled, "ROOT", folder)
    return folder


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates, issued once."""
    folder = tmp_path_factory.mktemp("identities")
    handle({"secrets_dir": str(folder), "services": '["web"]'})
    return folder


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], identities: Path) -> Stack:
    """A stack of one local service with a secret, deployed just now."""
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TOKEN", "hush-hush")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "main.py").write_text("print()\n")
    (tmp_path / "repos.yaml").write_text('[{"slug": "dir:web", "secrets": ["TOKEN"]}]')
    (tmp_path / "repos.lock.yaml").write_text("version: 1\nservices: {}\n")
    found = resolve(name="quick", list_file=str(tmp_path / "repos.yaml"))
    found.home.mkdir(parents=True)
    found.state_file.write_text(json.dumps({"serial": 1, "resources": [IMAGE]}))
    found.history_dir.mkdir()
    (found.history_dir / "web.jsonl").write_text("{}\n")
    discovery.file_of(found).write_text("[]")
    shutil.copytree(identities, found.secrets_dir)
    assert _deploy(found)
    return found


def _deploy(stack: Stack) -> bool:
    inputs = settled.Inputs.take(stack)
    assert inputs is not None
    inputs.planned()
    return inputs.record({"web": "dir-1"})


def test_nothing_changed_is_seen_as_nothing(stack: Stack) -> None:
    names, members = settled.unchanged(stack) or ([], [])
    assert names == ["web"]
    assert {member.role for member in members} == {"pod", "app", "sidecar", "edge"}


def _write(name: str, text: str) -> Callable[[Stack, list[dict[str, Any]], pytest.MonkeyPatch], None]:
    def change(stack: Stack, _rows: list[dict[str, Any]], _patch: pytest.MonkeyPatch) -> None:
        path = stack.list_file.parent / name
        path.write_text(text)

    return change


def _environment(name: str, value: str) -> Callable[[Stack, list[dict[str, Any]], pytest.MonkeyPatch], None]:
    return lambda _stack, _rows, patch: patch.setenv(name, value)


def _container(**changed: Any) -> Callable[[Stack, list[dict[str, Any]], pytest.MonkeyPatch], None]:
    return lambda _stack, rows, _patch: rows[0].update(changed)


CHANGES = {
    "the list": _write("repos.yaml", '[{"slug": "dir:web", "port": 9000, "secrets": ["TOKEN"]}]'),
    "the lock": _write("repos.lock.yaml", "version: 1\nservices: {}\n# moved\n"),
    "a file of the app": _write("web/main.py", "print(2)\n"),
    "a new file of the app": _write("web/more.py", ""),
    "a secret's value": _environment("TOKEN", "hush-two"),
    "an override": _environment("ENTRYPOINT", "web:main"),
    "a setting": _environment("KARST_DRAIN_SECONDS", "7"),
    "a variable of Terraform": _environment("TF_VAR_keep_images", "false"),
    "another engine": _environment("DOCKER_HOST", "tcp://elsewhere:2376"),
    "the state": lambda stack, _rows, _patch: stack.state_file.write_text('{"serial": 2}'),
    "a renewed certificate": lambda stack, _rows, _patch: next(stack.secrets_dir.rglob("svid.pem")).write_text("x"),
    "a lost certificate": lambda stack, _rows, _patch: next(stack.secrets_dir.rglob("svid.pem")).unlink(),
    "a stopped container": _container(State="exited"),
    "a paused container": _container(State="paused"),
    "a replaced container": _container(Id="other"),
    "a renamed container": _container(Names=["/other"]),
    "another image": _container(ImageID="sha256:2"),
    "another generation": _container(Labels={**ROWS[0]["Labels"], "karst.generation": "g2"}),
    "a container off its network": _container(NetworkSettings={"Networks": {}}),
    "other ports of the edge": _container(Ports=[{"PublicPort": 1}]),
    "a removed container": lambda _stack, rows, _patch: rows.pop(),
    "a container more": lambda _stack, rows, _patch: rows.append({**ROWS[0], "Id": "left by a killed deploy"}),
    "a lost history": lambda stack, _rows, _patch: (stack.history_dir / "web.jsonl").unlink(),
    "Prometheus' file gone": lambda stack, _rows, _patch: discovery.file_of(stack).unlink(),
    "a killed apply": lambda stack, _rows, _patch: stack.unfinished_file.write_text("1"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_anything_that_counts_means_plan(
    what: str, stack: Stack, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settled.unchanged(stack)
    CHANGES[what](stack, rows, monkeypatch)
    assert settled.unchanged(stack) is None


# What is asked of the list, and nothing that Terraform would have to look for.
WISHES = (
    "the list",
    "the lock",
    "a file of the app",
    "a new file of the app",
    "a secret's value",
    "an override",
    "a setting",
    "a variable of Terraform",
    "another engine",  # asked for its own containers, which are others
)


@pytest.mark.parametrize("what", CHANGES)
def test_a_plan_reads_every_container_again_unless_the_engine_is_as_it_was_left(
    what: str, stack: Stack, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settled.as_left(stack)
    CHANGES[what](stack, rows, monkeypatch)
    assert settled.as_left(stack) is (what in WISHES)


@pytest.mark.parametrize("left", [{}, {"quick/web:1": "sha256:another"}])
def test_a_lost_or_another_image_is_looked_for_by_the_plan(
    left: dict[str, str], stack: Stack, images: dict[str, str]
) -> None:
    images.clear()
    images.update(left)
    assert not settled.as_left(stack)


def test_after_a_deploy_that_left_no_note_a_plan_reads_everything(stack: Stack) -> None:
    settled.forget(stack)
    assert not settled.as_left(stack)


def test_who_asked_for_a_deploy_changes_nothing_about_it(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_CALLER", "alice@example.org")
    assert settled.unchanged(stack)


def test_a_changed_file_of_the_kit_means_plan(stack: Stack, kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module, script and template counts."""
    saved = settled.kit_hash()
    (kit / "modules" / "pods.tf").write_text("# two")
    assert settled.kit_hash() != saved  # and a saved plan is not applied
    assert settled.unchanged(stack) is None
    monkeypatch.setattr(settled, "ROOT", KIT)
    assert {
        "pods.tf",
        "main.tf",
        "envoy.yaml.tmpl",
        "app.Dockerfile.tmpl",
        "gate.py",
        "sidecar",
        "requirements.txt",
    } <= {path.name for path in settled._kit()}


def test_an_edit_during_the_deploy_is_deployed_by_the_next_one(stack: Stack) -> None:
    """The inputs are taken before the plan, not after the apply."""
    inputs = settled.Inputs.take(stack)
    assert inputs is not None
    (stack.list_file.parent / "web" / "main.py").write_text("print('edited meanwhile')\n")
    inputs.planned()
    assert inputs.record({"web": "dir-1"})
    assert settled.unchanged(stack) is None


def test_a_certificate_that_is_due_means_plan(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of seven days before the end."""
    due = dt.timedelta(days=7) * 2 / 3
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + due.total_seconds() - 120)
    assert settled.unchanged(stack)
    monkeypatch.setattr(time, "time", lambda: now + due.total_seconds() + 120)
    assert settled.unchanged(stack) is None


def test_a_deploy_that_left_a_container_down_is_not_settled(stack: Stack, rows: list[dict[str, Any]]) -> None:
    settled.forget(stack)
    rows[0]["State"] = "restarting"
    assert not _deploy(stack)
    assert settled.unchanged(stack) is None


def test_what_was_fetched_in_part_is_tried_again_each_time(stack: Stack) -> None:
    """A submodule or large file may be there by now; and a lock that moved during the deploy counts as moved."""
    entry = {"slug": "gh:a/web", "ref": "refs/heads/main", "revision": "a" * 40, "tree": "b" * 64}
    lock = stack.list_file.with_name("repos.lock.yaml")
    for extra, revision in (({"partial": True}, "a" * 40), ({}, "c" * 40)):
        lock.write_text(json.dumps({"version": 1, "services": {"web": {**entry, **extra}}}))
        inputs = settled.Inputs.take(stack)
        assert inputs is not None
        inputs.planned()
        assert not inputs.record({"web": revision})


def test_the_note_is_the_owners_alone_and_holds_no_secret(stack: Stack) -> None:
    path = stack.home / "settled.json"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert "hush" not in path.read_text()
