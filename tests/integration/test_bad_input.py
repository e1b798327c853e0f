"""Bad input ends with one sentence and the documented exit code, before anything is changed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.kit import Kit

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


def _sentence(kit: Kit, code: int, *words: str, verb: str = "deploy") -> None:
    done = kit.iac(verb, "--file", str(kit.list_file), check=code)
    for word in words:
        assert word in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not kit.state_file.exists()
    assert kit.containers() == []


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"slug": "gh:acme/beta", "prot": 80}], ["prot", "did you mean `port`"]),
        (["gh:acme/beta", "gl:other/beta"], ["`beta`"]),
        (["github:acme/beta"], ["gh:acme/beta"]),
        (["gh:acme/beta#$(touch x)"], ["gh:acme/beta#$(touch x)"]),
        (["gh:-acme/beta"], ["gh:-acme/beta"]),
    ],
)
@pytest.mark.docker
def test_a_wrong_entry_is_a_usage_error(kit: Kit, entries: list[object], words: list[str]) -> None:
    """Unknown key, two of one name, unknown host, shell characters, leading dash: exit 2."""
    kit.write_list(entries)
    _sentence(kit, 2, *words)


@pytest.mark.docker
def test_a_list_that_is_a_mapping_is_a_usage_error(kit: Kit) -> None:
    """`services: …` at the top is a mapping, and the sentence says that a list is wanted."""
    kit.list_file.write_text("services:\n  - gh:acme/beta\n")
    _sentence(kit, 2, "list")


@pytest.mark.docker
def test_a_list_that_is_not_there_is_a_usage_error(kit: Kit) -> None:
    """The sentence names the file."""
    _sentence(kit, 2, "repos.yaml")


@pytest.mark.docker
def test_a_port_that_somebody_else_holds_is_named_before_anything_starts(kit: Kit) -> None:
    """The edge's port is taken by a plain listener."""
    kit.write_list(["gh:acme/beta"])
    with socket.create_server(("127.0.0.1", kit.ports["edge"])):
        _sentence(kit, 1, str(kit.ports["edge"]), "taken")


def test_no_engine_is_one_sentence(kit: Kit) -> None:
    """DOCKER_HOST names a socket that nobody listens on."""
    kit.write_list(["gh:acme/beta"])
    kit.env["DOCKER_HOST"] = f"unix://{kit.home}/nobody.sock"
    done = kit.iac("deploy", "--file", str(kit.list_file), check=1)
    assert "no Docker engine" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistyped_command_is_answered_with_the_nearest_one(kit: Kit) -> None:
    """`iac depoly` says `deploy`."""
    done = kit.iac("depoly", check=2)
    assert "did you mean `deploy`?" in done.stderr
