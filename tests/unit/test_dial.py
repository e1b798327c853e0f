"""Connections to an engine by ssh, with a program in the place of ssh that shows its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst import containers
from karst.dial import Ssh, is_elsewhere
from karst.errors import KarstError, UsageError


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that notes its arguments and refuses."""
    noted = tmp_path / "arguments"
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{noted}\necho "deploy@far: Permission denied (publickey)." >&2\nexit 255\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "c"))
    return noted


@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [
        ("unix:///var/run/docker.sock", False),
        ("ssh://deploy@far", True),
        ("tcp://10.0.0.5:2376", True),
        ("npipe:////./pipe/docker_engine", False),
    ],
)
def test_an_engine_behind_a_network_is_on_another_machine(host: str, elsewhere: bool) -> None:
    assert is_elsewhere(host) is elsewhere


@pytest.mark.parametrize(
    "url", ["ssh://-oProxyCommand=touch", "ssh://", "ssh://u:secret@far", "ssh://far:port", "ssh://-l@far"]
)
def test_what_is_no_address_is_refused_and_never_becomes_an_option(url: str) -> None:
    with pytest.raises(UsageError, match="no address of ssh") as caught:
        Ssh(url)
    assert "secret" not in str(caught.value)


def test_a_refusal_is_told_in_the_words_of_ssh(fake_ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://deploy@far:2222")
    with pytest.raises(KarstError, match=r"ssh://deploy@far:2222\): deploy@far: Permission denied"):
        containers.client()
    asked = [line for line in fake_ssh.read_text().splitlines() if "dial-stdio" in line]
    assert asked[0].endswith("-l deploy -p 2222 -- far docker system dial-stdio")
    assert "BatchMode=yes" in asked[0]


def test_a_socket_elsewhere_on_that_host_can_be_named(fake_ssh: Path) -> None:
    way = Ssh("ssh://far/run/user/1000/docker.sock")
    way.dial().close()
    way.close()
    assert "docker --host unix:///run/user/1000/docker.sock system dial-stdio" in fake_ssh.read_text()
