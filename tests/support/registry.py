"""A real registry (Debian's docker-registry) without TLS: on 127.0.0.1, as engines take it, or in another network."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from karst.files import cache_dir
from tests.support.kit import free_ports

CONFIG = """\
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
http: {{addr: "{address}:{port}"}}
"""


def program() -> str:
    """The registry's program: on PATH, else out of Debian's package, which is unpacked and not installed."""
    found = shutil.which("docker-registry")
    if found:
        return found
    folder = cache_dir() / "tools" / "docker-registry"
    path = folder / "usr" / "bin" / "docker-registry"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "download", "docker-registry"]):
            if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
                pytest.skip("NO docker-registry: it is not on PATH, and apt cannot download it")
        package = next(folder.glob("*.deb"))
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    return str(path)


@contextlib.contextmanager
def registry(folder: Path, address: str = "127.0.0.1", namespace: str = "") -> Iterator[str]:
    """Serve from ``folder``, in a network namespace if one is given; yields host and port."""
    (port,) = free_ports(1)
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port, address=address))
    prefix = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*prefix, program(), "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while not _listens(prefix, address, port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield f"{address}:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(prefix: list[str], address: str, port: int) -> bool:
    if not prefix:
        with socket.socket() as client:
            return client.connect_ex((address, port)) == 0
    ask = f"import socket; socket.create_connection(({address!r}, {port}), 2)"
    return subprocess.run([*prefix, "python3", "-c", ask], capture_output=True, check=False).returncode == 0
