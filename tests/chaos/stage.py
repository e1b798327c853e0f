"""The stack that all is done to: `web` (HTTP), `rpc` (gRPC), and `caller`, whose pod half of the load comes from."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from tests.support.engine import Engine
from tests.support.kit import Kit

HERE = Path(__file__).resolve().parent
APPS = HERE / "apps"
DRAIN_SECONDS = 20  # the module's default, as docs/reliability.md says
GATE_SECONDS = 30
CALLED = ("web", "rpc")

CRASH = 'def main():\n    raise RuntimeError("no database")\n\n\nif __name__ == "__main__":\n    main()\n'
# Starts, and never listens on its port.
HANG = 'import time\n\n\ndef main():\n    time.sleep(3600)\n\n\nif __name__ == "__main__":\n    main()\n'


def write_app(folder: Path, name: str, version: str = "v1") -> None:
    """Put the app ``name``, which says ``version``, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    source = (APPS / name / "main.py").read_text()
    (folder / "main.py").write_text(source.replace('VERSION = "v1"', f'VERSION = "{version}"'))
    shutil.copy2(APPS / "requirements.txt", folder / "requirements.txt")


def quiet_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1 that the kernel gives to no outgoing connection: the load opens thousands of those."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
    return found


class Stage:
    """One deployed stack in a folder of its own; its services are folders there (`dir:`)."""

    def __init__(self, home: Path, *, engine: Engine | None = None) -> None:
        ports = dict(zip(("EDGE", "METRICS", "FRONT_DOOR"), quiet_ports(3), strict=True))
        settings = {"DRAIN_SECONDS": DRAIN_SECONDS, "GATE_TIMEOUT": GATE_SECONDS}
        settings |= {f"{name}_PORT": port for name, port in ports.items()}
        self.kit = Kit(home, env={f"KARST_{name}": str(value) for name, value in settings.items()}, engine=engine)
        self.kit.ports = {name.lower(): port for name, port in ports.items()}
        for name in (*CALLED, "caller"):
            write_app(home / name, name)
        shutil.copy2(HERE / "load.py", home / "caller" / "load.py")
        # Without spans, which the peers' apps do not write either.
        called = {"port": 8000, "allow": ["caller", "operator"], "otel": False}
        web, rpc = {"slug": "dir:web", "expose": True, **called}, {"slug": "dir:rpc", **called}
        self.kit.write_list([web, rpc, {"slug": "dir:caller", "otel": False}])
        self._number = 1

    def version(self, *services: str) -> str:
        """Give ``services`` (default: both that are called) new code that works; return its version."""
        self._number += 1
        for service in services or CALLED:
            write_app(self.kit.home / service, service, f"v{self._number}")
        return f"v{self._number}"

    def bad_version(self, code: str) -> None:
        """Give both services that are called code that does not work."""
        self._number += 1
        for service in CALLED:
            (self.kit.home / service / "main.py").write_text(f"# {self._number}\n{code}")

    def deploy(self, *, check: int | None = 0) -> dict[str, Any]:
        """Deploy the list; return the seconds it took and the exit code. Another one than ``check`` is an error."""
        begin = time.monotonic()
        done = self.kit.iac("deploy", "--file", str(self.kit.list_file), check=None)
        took = round(time.monotonic() - begin, 1)
        if check is not None and done.returncode != check:
            raise RuntimeError(f"the deploy ended with {done.returncode}, not {check}\n{done.stderr}\n{self.logs()}")
        return {"seconds": took, "exit": done.returncode, "said": done.stderr.splitlines()[-40:]}

    def logs(self) -> str:
        """The last lines of every container of the stack, with its state."""
        lines = []
        for row in self.kit.containers():
            state = {key: row["State"][key] for key in ("Status", "ExitCode", "OOMKilled", "StartedAt")}
            lines += [f"{row['Name']} {state} restarts {row['RestartCount']}"]
            lines += [f"    {line}" for line in self.kit.docker("logs", "--tail", "12", row["Id"]).splitlines()]
        return "\n".join(lines)

    def container(self, service: str, role: str) -> dict[str, Any]:
        """`docker inspect` of the newest running container of ``service`` with ``role``."""
        rows = [
            row
            for row in self.kit.containers(service)
            if row["Config"]["Labels"].get("karst.role") == role and row["State"]["Running"]
        ]
        return max(rows, key=lambda row: str(row["Created"]))

    def inside(self, service: str = "caller") -> list[str]:
        """The command that runs load.py inside the app of ``service``, with the app's own Python."""
        identifier = self.container(service, "app")["Id"]
        python = self.kit.docker("exec", identifier, "sh", "-c", "command -v python")
        return ["docker", "exec", "-i", identifier, python, "/app/load.py"]

    def pending(self) -> int:
        """Exit code of `iac plan --detailed-exitcode`: 0 when the next deploy would change nothing, 2 when it would."""
        arguments = ("plan", "--file", str(self.kit.list_file), "--detailed-exitcode")
        return self.kit.iac(*arguments, check=None).returncode

    def close(self) -> None:
        """Remove everything; leave nothing in the engine."""
        self.kit.iac("destroy", "--yes", check=None)
