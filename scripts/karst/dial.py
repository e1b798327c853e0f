"""Where the Docker engine is, and connections to one that is reached by ssh.

Over ssh a connection is `ssh … docker system dial-stdio`, as the docker client and the Terraform provider make it: the
same keys, agent, `~/.ssh/config` and `known_hosts` count for all three. (Docker's library would bring an ssh of its
own, which reads little of that file and no hardware keys.) They share one ssh connection, which ends a minute after the
last of them: a handshake for each would be slow, and a server refuses more than ten that begin at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from karst.errors import KarstError, UsageError

_SCHEMES = ("ssh://", "tcp://", "http://", "https://")
_PERSIST = 60
_SOCKET_PATH = 90  # bytes: ssh adds 17 of its own, and 108 is what the system takes


def docker_host() -> str:
    """The engine that is used: DOCKER_HOST, or the default socket."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def is_elsewhere(host: str | None = None) -> bool:
    """Whether the engine is taken to be on another machine, whose ports on 127.0.0.1 and folders are not ours."""
    return (host or docker_host()).startswith(_SCHEMES)


def by_ssh(host: str | None = None) -> bool:
    return (host or docker_host()).startswith("ssh://")


class Ssh:
    """The way to one ``ssh://[user@]host[:port][/path/of/docker.sock]``."""

    def __init__(self, url: str) -> None:
        """Read the address; UsageError when it is none. Nothing is connected."""
        try:
            parts = urlsplit(url)
            host, user, port = parts.hostname or "", parts.username or "", parts.port
        except ValueError:
            host, user, port = "", "", None
        # What begins with a dash would be an option of ssh.
        if not re.fullmatch(r"[A-Za-z0-9_\[][^\s/]*", host) or user.startswith("-") or parts.password or parts.query:
            raise UsageError(
                f"DOCKER_HOST is `{_without_password(url)}`, and that is no address of ssh",
                hint="for example ssh://deploy@host or ssh://deploy@host:2222; passwords and keys are ssh's own affair",
                code="bad_docker_host",
            )
        if not shutil.which("ssh"):
            raise KarstError(
                "DOCKER_HOST is an ssh:// address, and there is no `ssh` on PATH",
                hint="on Debian and Ubuntu: `sudo apt-get install openssh-client`",
                code="no_ssh",
            )
        self._where = [*(["-l", user] if user else []), *(["-p", str(port)] if port else []), "--", host]
        at = ["--host", f"unix://{parts.path}"] if parts.path.strip("/") else []
        self._command = ["docker", *at, "system", "dial-stdio"]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the connections
        self._children: list[subprocess.Popen[bytes]] = []

    def dial(self) -> socket.socket:
        """A socket whose other end is the engine; an ssh that cannot connect closes it, and `why` tells the reason."""
        ours, theirs = socket.socketpair()
        self._children = [child for child in self._children if child.poll() is None]
        with theirs:
            self._children.append(
                subprocess.Popen(
                    ["ssh", "-T", *_OPTIONS, *self._shared(), *self._where, *self._command],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=self._said,
                    start_new_session=True,  # Ctrl-C ends us, and we end it
                )
            )
        return ours

    def why(self) -> str:
        """What ssh said last, or ""."""
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Wait for the connections, which their users have closed."""
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
        self._said.close()

    def _shared(self) -> list[str]:
        """Options with which connections share one; none where there is no place for its socket."""
        folder = _private_folder()
        if folder is None:
            return []
        path = ["-o", f"ControlPath={folder}/%C"]
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of several that begin at once, one makes it
            # Closed to our output: whoever waits for its end would wait for this process, too.
            quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            check = ["ssh", *path, "-O", "check", *self._where]
            if subprocess.run(check, **quiet, stderr=subprocess.DEVNULL, check=False).returncode != 0:
                begin = ["ssh", "-fNMT", *_OPTIONS, *path, "-o", f"ControlPersist={_PERSIST}", *self._where]
                subprocess.run(begin, **quiet, stderr=self._said, check=False, start_new_session=True)
        return path


# Never a question: nobody is there to answer it.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")


def _private_folder() -> Path | None:
    from karst.files import cache_dir

    folder = cache_dir() / "ssh"
    if len(os.fsencode(folder)) + 41 > _SOCKET_PATH:
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)[:200]
