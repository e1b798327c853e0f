"""A real registry (Debian's docker-registry) without TLS: on 127.0.0.1, as engines take it, or in another network."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import sys
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
LOGIN = """\
auth: {{htpasswd: {{realm: karst, path: {folder}/htpasswd}}}}
"""
# bcrypt, the only kind that the registry takes; libcrypt has it.
HASH = "import crypt, sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))"


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
def registry(folder: Path, address: str = "127.0.0.1", namespace: str = "", login: str = "") -> Iterator[str]:
    """Serve from ``folder``, in a network namespace if one is given; yields host and port.

    With ``login`` (``user:password``) it is for those who have it, as the Docker configuration ``folder``/docker does.
    """
    (port,) = free_ports(1)
    folder.mkdir(parents=True)
    config = CONFIG + (LOGIN if login else "")
    (folder / "config.yml").write_text(config.format(folder=folder, port=port, address=address))
    if login:
        user, _, password = login.partition(":")
        command = [sys.executable, "-W", "ignore", "-c", HASH, password]
        hashed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        (folder / "htpasswd").write_text(f"{user}:{hashed}\n")
        known = {"auths": {f"{address}:{port}": {"auth": base64.b64encode(login.encode()).decode()}}}
        (folder / "docker").mkdir()
        (folder / "docker" / "config.json").write_text(json.dumps(known))
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
