"""A service that cannot be fetched, understood or built stays as it was, while the others are deployed."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import HELLO, JOB
from tests.support.githost import GitHost
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("stack")]

UNBUILDABLE = "karst-no-such-package-5f2c==1.0\n"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path / "githost") as host:
        host.create("gh:acme/web", {"main.py": HELLO})
        yield host


@pytest.fixture
def kit(tmp_path: Path, host: GitHost) -> Iterator[Kit]:
    """Three services, deployed: `web` from a repository, `one` and `two` from folders."""
    kit = Kit(tmp_path / "kit", env=host.environment())
    for name in ("one", "two"):
        (kit.home / name).mkdir()
        (kit.home / name / "main.py").write_text(JOB)
    kit.write_list([{"slug": "gh:acme/web", "expose": True}, "dir:one", "dir:two"])
    try:
        kit.deploy()
        yield kit
    finally:
        kit.iac("destroy", "--yes", check=None)


def _ids(kit: Kit, service: str) -> set[str]:
    return {row["Id"] for row in kit.containers(service)}


def _outcomes(events: list[dict[str, Any]]) -> dict[str, str]:
    result = events[-1]
    assert result["type"] == "result"
    return {row["service"]: row["outcome"] for row in result["services"]}


def _front_door(kit: Kit) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{kit.ports['front_door']}/", headers={"Host": "web.localhost"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def _change(kit: Kit, name: str, word: str) -> None:
    (kit.home / name / "main.py").write_text(JOB.replace("forty-two", word))


def test_services_that_fail_are_held_and_the_others_deployed(kit: Kit, host: GitHost) -> None:
    """Unfetchable, unreadable, unbuildable, in turn and together: exit 1, same containers, revision and reason told."""
    revision = kit.health()["web"]["revision"]
    web, one = _ids(kit, "web"), _ids(kit, "one")

    # The repository's ref is gone: found while planning.
    kit.write_list([{"slug": "gh:acme/web#v9", "env": {"NEW": "1"}}, "dir:one", "dir:two"])
    _change(kit, "two", "first")
    done = kit.iac("deploy", "--file", str(kit.list_file), check=1)
    assert f"web: held at {revision}" in done.stderr
    assert "v9" in done.stderr
    assert (_ids(kit, "web"), _ids(kit, "one")) == (web, one)
    assert _front_door(kit) == b"version one", "it is still exposed, as it was when it was let through"
    assert "first" in kit.iac("logs", "--service", "two").stdout

    # A source that does not parse, too; the saved plan remembers what it holds.
    (kit.home / "one" / "main.py").write_text("def main(:\n")
    _change(kit, "two", "second")
    planned = json.loads(kit.iac("plan", "--json").stdout)["services"]
    assert {name: entry["action"] for name, entry in planned.items() if name} == {
        "one": "none",
        "two": "replace",
        "web": "none",
    }
    assert planned["one"]["held"]["revision"].startswith("dir-")
    assert planned["one"]["reasons"][0]["text"] == f"held at {planned['one']['held']['revision']}"
    done = kit.iac("apply", check=1)
    assert "one: held at dir-" in done.stderr
    assert "main.py:1 does not parse" in done.stderr
    assert f"web: held at {revision}" in done.stderr
    assert (_ids(kit, "web"), _ids(kit, "one")) == (web, one)
    assert "second" in kit.iac("logs", "--service", "two").stdout

    # A build that fails: found while applying, when the images of the others are made.
    _change(kit, "one", "unbuildable")
    (kit.home / "one" / "requirements.txt").write_text(UNBUILDABLE)
    _change(kit, "two", "third")
    events = kit.deploy(check=1)
    assert _outcomes(events) == {"web": "held", "one": "held", "two": "deployed"}
    (told,) = [event for event in events if event.get("state") == "held" and event["service"] == "one"]
    assert told["action"] == "hold"
    assert "karst-no-such-package-5f2c" in told["reason"]
    assert (_ids(kit, "web"), _ids(kit, "one")) == (web, one)
    assert "third" in kit.iac("logs", "--service", "two").stdout

    # All is well again.
    (kit.home / "one" / "requirements.txt").unlink()
    kit.write_list([{"slug": "gh:acme/web", "expose": True}, "dir:one", "dir:two"])
    assert _outcomes(kit.deploy()) == {"web": "unchanged", "one": "deployed", "two": "unchanged"}
    assert _ids(kit, "web") == web


def test_all_or_nothing_changes_nothing(kit: Kit) -> None:
    """Neither while planning nor when a build fails; the same list without the option deploys the rest."""
    before = {name: _ids(kit, name) for name in ("web", "one", "two")}
    _change(kit, "two", "first")
    (kit.home / "one" / "main.py").write_text("def main(:\n")
    done = kit.iac("deploy", "--file", str(kit.list_file), "--all-or-nothing", check=1)
    assert "held" not in done.stderr
    _change(kit, "one", "unbuildable")
    (kit.home / "one" / "requirements.txt").write_text(UNBUILDABLE)
    done = kit.iac("deploy", "--all-or-nothing", check=1)
    assert "karst-no-such-package-5f2c" in done.stderr
    assert "held" not in done.stderr
    assert {name: _ids(kit, name) for name in before} == before


def test_a_new_service_that_fails_is_left_out_and_a_lone_one_is_an_error(kit: Kit) -> None:
    """There is nothing to hold it at; and nothing that runs is ever taken down for want of a record."""
    _change(kit, "two", "first")
    kit.write_list([{"slug": "gh:acme/web", "expose": True}, "dir:one", "dir:two", "dir:none", "gh:acme/typo"])
    events = kit.deploy(check=1)
    outcomes = _outcomes(events)
    assert outcomes == {
        "web": "unchanged",
        "one": "unchanged",
        "two": "deployed",
        "none": "left_out",
        "typo": "left_out",
    }
    assert "left out" in events[-1]["error"]["message"]

    # Somebody lost the histories: a failing service that runs stops the run, as with --all-or-nothing.
    shutil.rmtree(kit.home / "state" / kit.stack / "history")
    shutil.move(kit.home / "one", kit.home / "elsewhere")
    before = _ids(kit, "one")
    done = kit.iac("deploy", check=1)
    assert "no record" in done.stderr
    assert _ids(kit, "one") == before


def test_a_service_whose_secret_is_not_set_is_held_unless_what_runs_needs_it(tmp_path: Path) -> None:
    """The other one is deployed. Without the secret of what runs, nothing is changed at all."""
    kit = Kit(tmp_path / "kit", env={"TOKEN": "hush"})
    try:
        for name in ("one", "two"):
            (kit.home / name).mkdir()
            _change(kit, name, "first")
        kit.write_list([{"slug": "dir:one", "secrets": ["TOKEN"]}, "dir:two"])
        kit.deploy()
        kit.write_list([{"slug": "dir:one", "secrets": ["TOKEN", "KARSTLESS"]}, "dir:two"])
        _change(kit, "two", "second")
        events = kit.deploy(check=1)
        assert _outcomes(events) == {"one": "held", "two": "deployed"}
        assert "`KARSTLESS`" in events[-1]["error"]["message"]
        before = kit.pods()
        del kit.env["TOKEN"]
        _change(kit, "two", "third")
        events = kit.deploy(check=1)
        assert "`TOKEN`" in events[-1]["error"]["message"]
        assert kit.pods() == before
    finally:
        kit.destroy()


def test_a_list_of_which_nothing_can_be_had_deploys_nothing(tmp_path: Path) -> None:
    """Not an empty stack, but the reasons."""
    kit = Kit(tmp_path / "kit")
    kit.write_list(["dir:one", "dir:two"])
    done = kit.iac("deploy", "--file", str(kit.list_file), check=1)
    assert "one: " in done.stderr
    assert "two: " in done.stderr
    assert kit.containers() == []
