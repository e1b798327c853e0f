"""The tracing folder as the image has it, Pythons with real applications' packages, and a listener for their spans."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from karst.files import cache_dir, locked

ROOT = Path(__file__).resolve().parents[3]
RUNNER = ROOT / "modules" / "karst_service" / "image" / "runner"
sys.path.insert(0, str(RUNNER))

APPS = """\
aiohttp==3.12.15
django==5.2.6
falcon==4.1.0
fastapi==0.117.1
flask==3.1.2
gevent==25.8.2
gunicorn==23.0.0
httpx==0.28.1
requests==2.32.5
sqlalchemy==2.0.43
starlette==0.48.0
tornado==6.5.2
"""


def kept(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache that ``make`` fills once for each ``key``."""
    place = cache_dir() / "tests" / f"{name}-{hashlib.sha256(f'{key} {sys.version}'.encode()).hexdigest()[:16]}"
    with locked(place.with_suffix(".lock")):
        if not (place / ".complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            make(place)
            (place / ".complete").touch()
    return place


@pytest.fixture(scope="session")
def uv() -> str:
    done = subprocess.run([ROOT / "scripts/toolchain/environment", "--uv"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def install(uv: str, target: Path, *what: str) -> None:
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(target), *what]
    subprocess.run(command, check=True)


@pytest.fixture(scope="session")
def lent(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/opt/karst/otel: sitecustomize.py, and lib/ beside it."""
    requirements = RUNNER / "otel" / "requirements.txt"

    def make(place: Path) -> None:
        install(uv, place, "--require-hashes", "--requirement", str(requirements))
        for extension in place.rglob("*.so"):
            extension.unlink()
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(place)], check=True)

    lib = kept("otel", requirements.read_text(), make)
    folder = tmp_path_factory.mktemp("otel")
    shutil.copytree(lib, folder / "lib", symlinks=True)
    shutil.copy(RUNNER / "otel" / "sitecustomize.py", folder)
    shutil.copy(RUNNER / "otel" / "karst_otel.py", folder / "lib")
    return folder


@pytest.fixture(scope="session")
def apps(uv: str) -> Path:
    """A Python with the frameworks, and without anything of OpenTelemetry."""

    def make(place: Path) -> None:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place / "venv")], check=True)
        python = str(place / "venv" / "bin" / "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *APPS.split()], check=True)

    return kept("apps", APPS, make) / "venv" / "bin" / "python"


@pytest.fixture(scope="session")
def package(uv: str) -> Callable[..., Path]:
    """`package("name==1")` returns a folder with it and what it needs, for PYTHONPATH."""
    return lambda *what: kept("package", " ".join(what), lambda place: install(uv, place, *what))


@dataclass
class Outcome:
    """What a traced program did: its output, and the spans that came (name, scope, kind, traceId, parentSpanId …)."""

    code: int
    out: str
    err: str
    spans: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        return [f"{span['scope']}: {span['name']}" for span in self.spans]


Run = Callable[..., Outcome]


@pytest.fixture
def run(lent: Path, apps: Path, tmp_path: Path) -> Run:
    """`run(source…, spans=n)` runs a program (its parts are joined) with tracing lent to it, and waits for n spans."""
    from karst_runner.traces import Traces

    received: list[bytes] = []
    traces = Traces(lambda body, _lost: received.append(body))
    traces.start()

    def begin(
        *source: str | list[str],
        spans: int = 0,
        path: list[Path] | None = None,
        flags: tuple[str, ...] = (),
        **env: str,
    ) -> Outcome:
        if isinstance(source[0], str):
            script = tmp_path / "program.py"
            script.write_text("\n".join(textwrap.dedent(str(part)) for part in source))
            command = [str(apps), *flags, str(script)]
        else:
            command = source[0]
        received.clear()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(map(str, [lent, *(path or [])])),
            "KARST_OTEL_SOCKET": traces.name_in_env,
            "KARST_SERVICE": "web",
            "KARST_REVISION": "r1",
            "KARST_STACK": "test",
            **env,
        }
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30)
        deadline = time.monotonic() + (3 if spans else 0.1)
        while time.monotonic() < deadline and len(received) < max(spans, 1):
            time.sleep(0.01)
        return Outcome(done.returncode, done.stdout, done.stderr, [one for body in received for one in flat(body)])

    return begin


def flat(body: bytes) -> Iterator[dict[str, Any]]:
    for resource in json.loads(body)["resourceSpans"]:
        attributes = {item["key"]: item["value"].get("stringValue") for item in resource["resource"]["attributes"]}
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield {**span, "scope": scope["scope"]["name"].rpartition(".")[2], "resource": attributes}
