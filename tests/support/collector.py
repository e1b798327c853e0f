"""A real OpenTelemetry Collector on this host, and what it has received."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

from karst.files import cache_dir, tree_hash
from karst.toolchain import go
from tests.support.kit import docker, free_ports

SOURCE = Path(__file__).resolve().parent / "otelcol"
FIELDS = {"Trace ID": "trace", "ID": "span", "Parent ID": "parent", "Name": "name"}


def program() -> str:
    """Return the collector: on PATH, else built from its Go modules (minutes, once)."""
    found = shutil.which("otelcol") or shutil.which("otelcol-contrib")
    if found:
        return found
    output = cache_dir() / "tools" / f"otelcol-{tree_hash(SOURCE)[:12]}"
    if not output.exists():
        go.build_tool(SOURCE, ".", output)
    return str(output)


class Collector:
    """Use in a ``with``. Reached from containers by the address of Docker's bridge."""

    def __init__(self, folder: Path, *, grpc: int | None = None, http: int | None = None) -> None:
        """``grpc``, ``http``: ports; free ones by default."""
        free = free_ports(2)
        self.grpc, self.http = grpc or free[0], http or free[1]
        # The host's end of it has the subnet's first address; old engines leave the gateway's field empty.
        subnet = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
        self.host = str(next(ipaddress.ip_network(subnet).hosts()))
        self._log = folder / "collector.log"
        config = {
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": f"{self.host}:{self.grpc}"},
                        "http": {"endpoint": f"{self.host}:{self.http}"},
                    }
                }
            },
            "exporters": {"debug": {"verbosity": "detailed"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
            },
        }
        (folder / "collector.json").write_text(json.dumps(config))
        with self._log.open("w") as log:
            command = [program(), "--config", f"file:{folder / 'collector.json'}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 20
        while "Everything is ready" not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)

    def spans(self) -> list[dict[str, str]]:
        """Every span so far: service, trace, span, parent, name; read from the debug exporter's text."""
        found: list[dict[str, str]] = []
        service = ""
        for line in self._log.read_text().splitlines():
            if line.startswith("Span #"):
                found.append({"service": service})
            elif match := re.match(r"\s+-> service\.name: Str\((.*)\)", line):
                service = match.group(1)
            elif match := re.match(r"    (Trace ID|Parent ID|ID|Name) +: ?(.*)", line):
                found[-1][FIELDS[match.group(1)]] = match.group(2).strip()
        return found

    def wait(self, count: int, timeout: float = 20) -> list[dict[str, str]]:
        """Return the spans when there are so many."""
        deadline = time.monotonic() + timeout
        while len(found := self.spans()) < count:
            assert time.monotonic() < deadline, self._log.read_text()[-5000:]
            time.sleep(0.1)
        return found
