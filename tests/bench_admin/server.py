"""A real admin app in a process of its own, the auth stub beside it, and a run that prints for as long as one likes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from tests.support.admin_app import fake_command, todo
from tests.support.kit import ROOT
from tests.support.supabase_stub import SupabaseStub


@dataclass
class Server:
    """Attributes: its port and process id; ``tokens`` of as many viewers; ``run``: id of the run that goes on."""

    port: int
    pid: int
    tokens: list[str]
    run: str

    def request(self, path: str, token: str = "") -> tuple[HTTPConnection, HTTPResponse]:
        """GET ``path``; the caller closes the connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection, connection.getresponse()

    def stream(self, number: int) -> tuple[HTTPConnection, HTTPResponse]:
        return self.request(f"/v1/deploys/{self.run}/events", self.tokens[number % len(self.tokens)])

    def size(self) -> dict[str, int]:
        """Resident memory in KiB, threads and open files of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads")}  # type: ignore[index]
        return {**found, "files": len(os.listdir(f"/proc/{self.pid}/fd"))}


@contextlib.contextmanager
def running(folder: Path, *, pause: float = 0.05, viewers: int = 10) -> Iterator[Server]:
    """Start it, and a run with an event every ``pause`` seconds; end both afterwards."""
    stub = SupabaseStub()
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("KARST_", "SUPABASE_"))},
        "SUPABASE_URL": stub.url,
        "SUPABASE_SERVICE_ROLE_KEY": stub.service_role_key,
        "KARST_ADMIN_COMMAND": str(fake_command(folder)),
        "KARST_ADMIN_PORT": "0",
        "KARST_ADMIN_GRPC_PORT": "off",
        "KARST_ADMIN_SOCKET": str(folder / "s"),
        "KARST_ADMIN_DATA": str(folder / "data"),
        "KARST_ADMIN_LOG": "WARNING",
        **{name: value for name, value in os.environ.items() if name in ("KARST_CACHE", "KARST_VENV")},
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(ROOT / "scripts" / "admin")], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True
        )
    run: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        found = re.match(r"admin: http://127\.0\.0\.1:(\d+) ", process.stdout.readline())
        assert found, (folder / "log").read_text()
        port = int(found[1])
        run = _start_run(port, stub.token(stub.add_user("deployer")), pause)
        tokens = [stub.token(stub.add_user("viewer")) for _ in range(viewers)]
        yield Server(port, process.pid, tokens, run["id"])
    finally:
        process.terminate()
        process.communicate(timeout=20)
        stub.close()
        for record in (folder / "data" / "runs").glob("*/run.json"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)


def _start_run(port: int, token: str, pause: float) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps(todo(STEPS="1000000", PAUSE=str(pause)))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/deploys", body, headers)
    with contextlib.closing(connection):
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
