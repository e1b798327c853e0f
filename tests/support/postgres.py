"""A real Postgres for one test: the one on PATH or Debian's, in a temporary folder, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kit import free_ports

USER = "karst"
NOBODY = 65534  # Postgres refuses to run as root


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """Run it; gives PG_CONN_STR, with a password that nobody could guess."""
    # Not one of pytest's folders: every pytest that starts closes them all to other users again.
    with tempfile.TemporaryDirectory(prefix="karst-postgres-") as name:
        yield from _serve(Path(name))


def _serve(folder: Path) -> Iterator[dict[str, str]]:
    home = _programs()
    data, password = folder / "data", secrets.token_hex(12)
    (folder / "password").write_text(password)
    as_other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    if as_other:
        for path in (folder, folder / "password"):
            os.chown(path, NOBODY, NOBODY)
    [port] = free_ports(1)

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(home / program), *arguments],
            cwd=folder,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if program == "initdb" else subprocess.DEVNULL,
            check=False,
            **as_other,  # type: ignore[call-overload]
        )
        log = folder / "log"
        assert done.returncode == 0, f"{program}: {done.stdout!r} {log.read_text() if log.exists() else ''}"

    run("initdb", "-D", str(data), "-U", USER, f"--pwfile={folder}/password", "--auth=scram-sha-256", "-N")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield {"PG_CONN_STR": f"postgres://{USER}:{password}@127.0.0.1:{port}/postgres?sslmode=disable"}
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


def _programs() -> Path:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not places:
        pytest.skip("NO POSTGRES HERE: `apt-get install postgresql`")
    return places[0]
