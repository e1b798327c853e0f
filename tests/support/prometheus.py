"""A real Prometheus on this host: the one on PATH, else Debian's package, unpacked and not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.debian import unpacked
from tests.support.kit import free_ports


def program(name: str) -> str:
    """Return `prometheus` or `promtool`; the package is downloaded once and kept in the cache."""
    found = shutil.which(name)
    if found:
        return found
    return str(unpacked("prometheus", "prometheus") / "usr" / "bin" / name)


class Prometheus:
    """Use in a ``with``: scrapes by the given configuration until the end."""

    def __init__(self, folder: Path, configuration: Path) -> None:
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "prometheus.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *(
                        program("prometheus"),
                        f"--config.file={configuration}",
                        f"--storage.tsdb.path={folder / 'tsdb'}",
                    ),
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "GOMAXPROCS": "1"},
            )

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(20)

    def ask(self, path: str, **query: str) -> Any:
        """One question to its API; None while it does not answer yet."""
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(
                f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10
            ) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as err:
            raise AssertionError(f"{query}: {err.read().decode()}") from err
        except OSError:
            return None

    def values(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that a query finds, those that are no number left out."""
        found = (self.ask("query", query=query) or {"result": []})["result"]
        rows = [(row["metric"], float(row["value"][1])) for row in found]
        return [(labels, value) for labels, value in rows if value == value]

    def wait(self, query: str, seconds: float = 60) -> list[tuple[dict[str, str], float]]:
        """Its values as soon as there are any."""
        deadline = time.monotonic() + seconds
        while not (found := self.values(query)):
            assert time.monotonic() < deadline, f"no data: {query}\n{self._log.read_text()[-2000:]}"
            time.sleep(0.5)
        return found
