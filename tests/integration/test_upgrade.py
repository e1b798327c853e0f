"""A stack that the previous release made is taken over by this checkout, under load, without a failed request."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.scenario import lost, watch
from tests.chaos.stage import Stage
from tests.chaos.traffic import Sender, caller_lanes, edge_lanes, here, senders
from tests.support.kit import IAC, ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("upgrade")]

#: What stands for the previous release until there is a tag: the last commit before the first one that has this test.
BEFORE_TAGS = "0d17d94f8971122d7c77676586475ff708a1c0c4"
EDGE_SECONDS = 10.0  # on a machine that does much else
RATE = 50.0  # requests a second of each protocol; enough to hit every step of a takeover


def previous() -> str:
    """The newest release before this commit."""
    tag = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
    found = tag.stdout.strip() if tag.returncode == 0 else BEFORE_TAGS
    if _git("cat-file", "-e", f"{found}^{{commit}}").returncode:
        pytest.skip(f"THE HISTORY OF THIS CHECKOUT DOES NOT REACH BACK TO {found}: `git fetch --unshallow --tags`")
    return found


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The previous release's files in a folder of its own, as a user's checkout of it."""
    commit = previous()
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path / "release", filter="data")
    # The part of its `make bootstrap` that belongs to the checkout: which base image it builds on.
    subprocess.run([tmp_path / "release" / "scripts" / "toolchain" / "base-image"], capture_output=True, check=True)
    return tmp_path / "release"


@pytest.fixture
def stage(tmp_path: Path, release: Path) -> Iterator[Stage]:
    """The stack as the previous release made it."""
    stage = Stage(tmp_path / "stack")
    stage.kit.program = release / "admin" / "iac"
    try:
        stage.deploy()
        yield stage
    finally:
        stage.kit.program = IAC
        stage.close()


@contextlib.contextmanager
def second_caller(stage: Stage) -> Iterator[list[str]]:
    """A pod like `caller`'s that no upgrade replaces: the old release's sidecar calls on while all others change.

    Gives the command that runs load.py in it.
    """
    rows = {role: stage.container("caller", role) for role in ("pod", "app", "sidecar")}
    started: list[str] = []
    try:
        for role, row in rows.items():
            network = f"iacnet-{stage.kit.stack}" if role == "pod" else f"container:{started[0]}"
            started.append(stage.kit.docker("run", "--detach", *_options(row), "--network", network, *_command(row)))
        python = stage.kit.docker("exec", started[1], "sh", "-c", "command -v python")
        time.sleep(3)  # its Envoy starts
        yield ["docker", "exec", "-i", started[1], python, "/app/load.py"]
    finally:
        if started:
            stage.kit.docker("rm", "--force", *reversed(started))


def _options(row: dict[str, Any]) -> list[str]:
    """`docker run`'s options for a container like this one, without its labels and without its network."""
    config, host = row["Config"], row["HostConfig"]
    pairs = [
        *(("--env", one) for one in config.get("Env") or []),
        *(("--cap-add", one) for one in host.get("CapAdd") or []),
        *(("--cap-drop", one) for one in host.get("CapDrop") or []),
        *(("--security-opt", one) for one in host.get("SecurityOpt") or []),
        *(("--tmpfs", f"{path}:{how}") for path, how in (host.get("Tmpfs") or {}).items()),
        *(("--volume", f"{one['Source']}:{one['Target']}:ro") for one in host.get("Mounts") or []),
        ("--user", config["User"]),
        ("--entrypoint", config["Entrypoint"][0]),
        # Else it would look like one of the stack's: an app's image has the label.
        ("--label", "karst.stack="),
    ]
    flags = ["--init"] * bool(host.get("Init")) + ["--read-only"] * bool(host.get("ReadonlyRootfs"))
    return flags + [word for pair in pairs for word in pair]


def _command(row: dict[str, Any]) -> list[str]:
    config = row["Config"]
    return [row["Image"], *config["Entrypoint"][1:], *(config["Cmd"] or [])]


def test_the_previous_releases_stack_is_taken_over_without_a_failed_request(stage: Stage) -> None:
    """As it is first, then with new code, so that pods of the old kit are replaced by the new one's in any case.

    Asked from a sidecar of the old release, and at the front door. An edge that the new release changes cannot run
    beside the one that holds the host's ports: while it is made anew, and only then, the front door does not answer.
    """
    kit = stage.kit
    authority, before, edge = (kit.secrets_dir / "ca.pem").read_bytes(), kit.pods(), edge_of(stage)
    kit.program = IAC
    with second_caller(stage) as load:
        chosen = [Sender(load, caller_lanes(RATE)), here(edge_lanes(stage, RATE))]
        taken = watch("upgrade", "both", chosen, lambda _: stage.deploy())
    failed = {name: group["failed"] for name, group in taken["groups"].items() if group["failed"]}
    assert not [name for name in failed if name.startswith("caller|")], taken["failures"][:20]
    down = max(group["down_seconds"] for group in taken["groups"].values())
    print(
        f"the edge was {'kept' if edge == edge_of(stage) else 'made anew'}; {failed or 'nothing'} failed, down {down} s"
    )
    assert not failed or (edge != edge_of(stage) and down < EDGE_SECONDS), taken["failures"][:20]
    assert stage.pending() == 0
    assert kit.iac("drift").stdout == "no drift\n"

    version = stage.version()
    changed = watch("a new version after it", "both", senders(stage, "both", RATE), lambda _: stage.deploy())
    assert lost(changed) == 0, changed["failures"][:20]
    assert version in {one for group in changed["groups"].values() for one in group["versions"]}
    assert all(before[name] != kit.pods()[name] for name in ("web", "rpc"))

    # The generation of then is of the old kit's making.
    assert json.loads(kit.iac("rollback", "web", "--json").stdout)["outcome"] == "ok"
    assert kit.iac("drift").stdout == "no drift\n"
    assert (kit.secrets_dir / "ca.pem").read_bytes() == authority
    runs = [line["outcome"] for line in _history(kit.home / "state" / kit.stack / "history" / "web.jsonl")]
    assert len(runs) >= 3, "the history that the previous release began is gone"
    assert set(runs) == {"ok"}


def edge_of(stage: Stage) -> str:
    return str(stage.container("edge", "edge")["Id"])


def _history(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
