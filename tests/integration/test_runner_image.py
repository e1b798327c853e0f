"""The runner's image as a container, under the rights that a pod gives it."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import images
from tests.support.kit import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180), pytest.mark.slow]

# Asks like a client in the pod would; the runner listens on loopback only.
ASK = """
import sys; sys.path.insert(0, "/opt/karst/lib")
import grpc
from google.protobuf import empty_pb2, json_format
from karst_runner.pb import controlplane_pb2_grpc
channel = grpc.insecure_channel("127.0.0.1:50051")
health = controlplane_pb2_grpc.ControlPlaneStub(channel).HealthCheck(empty_pb2.Empty(), timeout=5, wait_for_ready=True)
print(json_format.MessageToJson(health, preserving_proto_field_name=True))
"""
SERVER = """
import http.server, os, urllib.request
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/out":
            urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/").read()
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Hello).serve_forever()
"""


class Container:
    """One app container, read-only and without capabilities."""

    def __init__(self, image: str, source: str, *options: str) -> None:
        self.name = f"karst-test-runner-{secrets.token_hex(4)}"
        rights = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        env = ["KARST_SERVICE=web", "KARST_REVISION=r1", "PORT=8000", "NO_PROXY=*"]
        docker(
            "run", "--detach", "--name", self.name, "--label", "karst.test=image", *rights,
            *[word for one in env for word in ("--env", one)], *options, image, "python3", "-c", source,
        )  # fmt: skip

    def exec(self, *command: str) -> str:
        return docker("exec", self.name, *command)

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.exec("/opt/karst/venv/bin/python", "-I", "-c", ASK))
        return answer

    def until(self, status: str, timeout: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while (health := self.health()).get("status") != status:
            assert time.monotonic() < deadline, (health, self.logs())
            time.sleep(0.1)
        return health

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def image() -> str:
    return images.build("runner")


Begin = Callable[..., Container]


@pytest.fixture
def begin(image: str) -> Iterator[Begin]:
    made: list[Container] = []

    def start(source: str, *options: str) -> Container:
        made.append(Container(image, source, *options))
        return made[-1]

    yield start
    for container in made:
        docker("rm", "--force", container.name)


def test_an_app_is_served_traced_and_stopped_in_its_container(begin: Begin) -> None:
    container = begin(SERVER)
    health = container.until("SERVING")
    assert (health["app_port"], health["service"], health["revision"], health["kind"]) == (8000, "web", "r1", "SERVER")
    assert container.exec("id", "-u").strip() == "10001"
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/out').read().decode())"
    assert container.exec("python3", "-c", ask).strip() == "hello"
    assert '"scope":{"name":"opentelemetry.instrumentation.urllib"' in container.logs()
    began = time.monotonic()
    docker("stop", "--time", "20", container.name)
    assert time.monotonic() - began < 5
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container.name).strip() == "143"


def test_an_app_that_needs_too_much_memory_is_told_so(begin: Begin) -> None:
    container = begin(
        "import time; time.sleep(1); x = bytearray(400 << 20); time.sleep(99)",
        "--memory",
        "128m",
        "--memory-swap",
        "128m",
    )
    health = container.until("NOT_SERVING")
    assert "was killed because it used more memory than `memory:` allows" in health["reason"]


def test_nothing_that_builds_or_installs_is_left_in_the_image(begin: Begin) -> None:
    container = begin("import time; time.sleep(99)")
    found = container.exec("sh", "-c", "ls /opt/karst /opt/karst/venv/bin /opt/karst/otel; ls /tmp; true")
    assert "pip" not in found
    assert "installer" not in found
    assert container.exec("find", "/opt/karst", "-name", "*.pyi").strip() == ""
    assert container.exec("find", "/opt/karst", "-writable", "!", "-type", "l").strip() == ""
