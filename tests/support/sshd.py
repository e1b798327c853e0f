"""A real sshd on a private engine's machine: Debian's, with host keys, a port and a user of its own.

The user `deploy` exists on that machine alone: it has a password file of its own, mounted over the host's. Whoever
connects uses the host's `ssh`, with a configuration that only the test's PATH leads to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.debian import unpacked
from tests.support.engine import Engine

USER, UID, PORT = "deploy", 20022, 2222
HOST = "karst-remote"


@contextlib.contextmanager
def sshd(engine: Engine) -> Iterator[dict[str, str]]:
    """Run it; gives the environment that makes clients work on ``engine`` over ssh."""
    # Not one of pytest's folders: every pytest that starts closes them all to other users again.
    with tempfile.TemporaryDirectory(prefix="karst-sshd-") as name:
        yield from _serve(engine, Path(name))


def _serve(engine: Engine, folder: Path) -> Iterator[dict[str, str]]:
    for place in (folder, engine.folder):
        place.chmod(0o711)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / f"{name}_key"], check=True)
    (folder / "authorized").write_text((folder / "user_key.pub").read_text())
    os.chown(engine.socket, UID, UID)
    process = _start(engine, folder)
    try:
        _await_port(engine.address, process, folder)
        yield {"DOCKER_HOST": f"ssh://{USER}@{HOST}", "PATH": f"{_client(engine, folder)}:{os.environ['PATH']}"}
    finally:
        process.terminate()
        process.wait(10)


def _start(engine: Engine, folder: Path) -> subprocess.Popen[bytes]:
    tree = unpacked("sshd", "openssh-server", "libwrap0") if not shutil.which("sshd") else Path("/")
    (folder / "passwd").write_text(
        Path("/etc/passwd").read_text()
        + (
            ""
            if "\nsshd:" in Path("/etc/passwd").read_text()
            else f"sshd:x:{UID + 2}:{UID + 2}::/run/sshd:/bin/false\n"
        )
        + f"{USER}:x:{UID}:{UID}::{folder}:/bin/sh\n"
    )
    (folder / "group").write_text(Path("/etc/group").read_text() + f"{USER}:x:{UID}:\n")
    (folder / "sshd_config").write_text(f"""\
ListenAddress {engine.address}:{PORT}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv DOCKER_HOST=unix://{engine.socket}
""")
    mounts = "".join(f"mount --bind {folder}/{name} /etc/{name} && " for name in ("passwd", "group"))
    command = f"{mounts}mkdir -p /run/sshd && exec {tree}/usr/sbin/sshd -D -e -f {folder}/sshd_config"
    libraries = ":".join(str(path) for path in (tree / "usr" / "lib").glob("*-linux-gnu")) if tree != Path("/") else ""
    with (folder / "sshd.log").open("wb") as log:
        return subprocess.Popen(
            [*engine.inside, "sh", "-c", command],
            env={**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _await_port(address: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((address, PORT), 1).close()
            return
        except OSError:
            said = (folder / "sshd.log").read_text(errors="replace")
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"sshd does not answer:\n{said}") from None
            time.sleep(0.05)


def _client(engine: Engine, folder: Path) -> Path:
    """A folder with an `ssh` that goes by the test's own configuration, whoever calls it."""
    public = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[{engine.address}]:{PORT} {public[0]} {public[1]}\n")
    (folder / "ssh_config").write_text(f"""\
Host {HOST}
    HostName {engine.address}
    Port {PORT}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    StrictHostKeyChecking yes
    UserKnownHostsFile {folder}/known_hosts
""")
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    program.chmod(0o755)
    return program.parent
