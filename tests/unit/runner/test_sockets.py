"""Finding the app's listening sockets on the real kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from karst_runner import listeners, sockets
from karst_runner.listeners import Owned, cpu_seconds, descendants

LISTEN = """
import socket, subprocess, sys
door = socket.create_server(("127.0.0.1", 0)); print(door.getsockname()[1], flush=True); sys.stdin.read()
"""


@pytest.mark.parametrize("source", [sockets.from_kernel, sockets.from_proc])
def test_every_family_and_address_is_seen(source: object) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as loopback,
        socket.create_server(("", 0)) as wildcard,
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both,
        socket.create_server(("127.0.0.11", 0)) as resolver,
    ):
        mapped = socket.socket(socket.AF_INET6)
        mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        mapped.bind(("::ffff:127.0.0.1", 0))
        mapped.listen()
        found = {one.port: (one.address, one.inode) for one in source()}  # type: ignore[operator]
        for door, address in [
            (loopback, "127.0.0.1"),
            (wildcard, "0.0.0.0"),
            (both, "::"),
            (mapped, "127.0.0.1"),
            (resolver, "127.0.0.11"),
        ]:
            inode = os.fstat(door.fileno()).st_ino
            assert found[door.getsockname()[1]] == (address, inode)
        mapped.close()


def test_dockers_resolver_is_nobodys_app() -> None:
    with socket.create_server((sockets.DOCKER_DNS, 0)) as resolver:
        assert resolver.getsockname()[1] not in {one.port for one in sockets.listening()}


def test_without_sock_diag_the_tables_in_proc_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> object:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr(sockets, "from_kernel", refuse)
    with socket.create_server(("127.0.0.1", 0)) as door:
        assert door.getsockname()[1] in {one.port for one in sockets.listening()}


def test_only_sockets_held_by_a_process_below_us_are_owned() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LISTEN!r}])"  # a grandchild
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with socket.create_server(("127.0.0.1", 0)) as own:
            owned = {one.port for one in Owned(os.getpid()).among(sockets.listening())}
            assert port in owned
            assert own.getsockname()[1] not in owned
        assert len(descendants(os.getpid())) >= 2
        assert cpu_seconds(descendants(os.getpid())) > 0
    finally:
        child.communicate("")


def test_where_descriptors_may_not_be_read_every_unknown_socket_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that changed its user cannot be looked into; better to see one listener too many than none."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (app) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0")
    found = [sockets.Listener(8000, "127.0.0.1", 5)]
    assert Owned(1, str(tmp_path)).among(found) == []
    monkeypatch.setattr(listeners, "_sockets", lambda folder: None if "/7/" in folder else set())
    assert Owned(1, str(tmp_path)).among(found) == found
