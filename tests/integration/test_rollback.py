"""Back to an earlier generation and forward again: the image of then, the gate of now, and nothing else touched."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

import pytest

from karst import generations, lockfile
from tests.integration.conftest import HELLO, JOB
from tests.support.kit import Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("stack")]

ENV = HELLO.replace('b"version one"', 'os.environ["MODE"].encode()')


def _ask(kit: Kit) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{kit.ports['front_door']}/", headers={"Host": "web.localhost"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def _list(kit: Kit, mode: str) -> None:
    kit.write_list([{"slug": "dir:web", "expose": True, "env": {"MODE": mode}}, "dir:other"])


def test_a_rollback_goes_back_and_forward_without_a_build_and_touches_nothing_else(tmp_path: Path) -> None:
    """Environment and image of then, although snapshot and build context are gone; a deploy in between keeps it."""
    kit = Kit(tmp_path / "kit", env={"KARST_GATE_TIMEOUT": "8", "KARST_DRAIN_SECONDS": "1"})
    for name, text in (("web", ENV), ("other", JOB)):
        (kit.home / name).mkdir()
        (kit.home / name / "main.py").write_text(f"# {kit.stack}\n{text}")
    history = kit.home / "state" / kit.stack / "history"
    lock = kit.home / "repos.lock.yaml"
    try:
        _list(kit, "first")
        kit.deploy()
        _list(kit, "second")
        (kit.home / "web" / "main.py").write_text(f"# {kit.stack}, changed\n{ENV}")
        kit.deploy()
        assert _ask(kit) == b"second"
        first, second = generations.read(history, "web")
        images = {one.image: docker("inspect", "--format={{.Id}} {{.Created}}", one.image) for one in (first, second)}
        for one in (first, second):
            shutil.rmtree(one.source)
            shutil.rmtree(one.rendered["context"])
        (kit.home / "other" / "main.py").write_text("def main(:\n")  # of no concern to a rollback of web
        other = kit.pods()["other"]

        said = kit.iac("rollback", "web").stderr
        assert f"rolled back to {first.revision}; image of then, not built again" in said
        assert "web: image of then is used" in said
        assert "building" not in said
        assert "rebuilt" not in said
        assert _ask(kit) == b"first"
        assert kit.pods()["other"] == other
        assert kit.health()["web"]["revision"] == first.revision
        assert {tag: docker("inspect", "--format={{.Id}} {{.Created}}", tag) for tag in images} == images

        # The next deploy says so and leaves it; the change of the other one is deployed.
        (kit.home / "other" / "main.py").write_text(JOB.replace("forty-two", "forty-three"))
        web = kit.pods()["web"]
        done = kit.iac("deploy")
        assert f"web is rolled back to {first.revision}" in done.stderr
        assert (kit.pods()["web"], _ask(kit)) == (web, b"first")
        assert kit.pods()["other"] != other

        kit.iac("rollback", "web", "--to", second.revision[:10])
        assert _ask(kit) == b"second"
        assert "already" in kit.iac("rollback", "web", "--to", second.revision).stderr
        rows = json.loads(kit.iac("history", "web", "--json").stdout)
        assert [(row["revision"], row["run"], row["current"]) for row in rows] == [
            (second.revision, "rollback", True),
            (first.revision, "rollback", False),
            (second.revision, "deploy", False),
            (first.revision, "deploy", False),
        ]
        assert {row["image_present"] for row in rows} == {True}

        kit.iac("update", "web")
        assert lockfile.read(lock) == {}
        assert "rolled back" not in kit.iac("deploy").stderr
    finally:
        kit.iac("destroy", "--yes", check=None)
    assert json.loads(kit.iac("history", "web", "--json").stdout)[0]["outcome"] == "removed"


def test_a_rollback_that_the_gate_refuses_or_that_cannot_be_had_leaves_everything(tmp_path: Path) -> None:
    """The version of then does not take the secret of now; then its image and snapshot are removed. The lock stays."""
    kit = Kit(tmp_path / "kit", env={"KARST_GATE_TIMEOUT": "8", "KARST_DRAIN_SECONDS": "1", "TOKEN": "good"})
    (kit.home / "web").mkdir()
    source = (
        "from pathlib import Path\n\nif Path('/run/secrets/TOKEN').read_text() != 'good':\n    raise SystemExit(3)\n"
    )
    (kit.home / "web" / "main.py").write_text(f"# {kit.stack}\n{source}{HELLO}")
    lock = kit.home / "repos.lock.yaml"
    kit.write_list([{"slug": "dir:web", "expose": True, "secrets": ["TOKEN"]}])
    try:
        kit.deploy()
        (kit.home / "web" / "main.py").write_text(f"# {kit.stack}\n{HELLO.replace('version one', 'version two')}")
        kit.deploy()
        assert _ask(kit) == b"version two"
        kit.env["TOKEN"] = "another"
        done = kit.iac("rollback", "web", check=5)
        assert "web is not healthy" in done.stderr
        assert not lock.exists() or lockfile.read(lock) == {}
        assert _ask(kit) == b"version two"
        assert json.loads(kit.iac("history", "web", "--json").stdout)[0]["outcome"] == "failed"

        first, *_ = generations.read(kit.home / "state" / kit.stack / "history", "web")
        docker("rmi", "-f", first.image)
        shutil.rmtree(first.source)
        done = kit.iac("rollback", "web", "--to", first.revision, check=1)
        assert "its image and its snapshot are gone" in done.stderr
        kit.deploy()
        assert _ask(kit) == b"version two"
    finally:
        kit.iac("destroy", "--yes", check=None)
