"""Finding the app's listening sockets on the real kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """A /proc with one process of this much memory whose descriptors may not be read."""
    monkeypatch.setattr(listeners, "_sockets", lambda folder: None if "/7/" in folder else set())
    (tmp_path / "7").mkdir()

    def proc(vsize: int) -> str:
        (tmp_path / "7" / "stat").write_text(f"7 (app) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {vsize} 0")
        return str(tmp_path)

    return proc


FOUND = [sockets.Listener(8000, "127.0.0.1", 5), sockets.Listener(15001, "127.0.0.1", 6)]


def test_where_descriptors_may_not_be_read_every_unknown_socket_counts(unreadable: Callable[[int], str]) -> None:
    """A process that changed its user cannot be looked into; better to see one listener too many than none.

    But not the sidecar's, which would make a healthy app one that takes a port of the kit.
    """
    assert Owned(1, unreadable(8_000_000), kit_ports={15001}).among(FOUND) == FOUND[:1]


def test_a_process_that_is_ending_hides_nothing(unreadable: Callable[[int], str]) -> None:
    """The kernel closes its /proc/PID/fd to us a moment before it is gone: the sidecar's sockets are not its own."""
    assert Owned(1, unreadable(0)).among(FOUND) == []
