"""One request through two services and both their Envoys is one trace, in a real collector and on stdout."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(1800), pytest.mark.xdist_group("stack")]

BACK = """
import os, flask
app = flask.Flask("back")
@app.get("/price")
def price(): return flask.request.headers["traceparent"]
if __name__ == "__main__": app.run(os.environ["HOST"], int(os.environ["PORT"]))
"""
FRONT = """
import os, flask, requests
app = flask.Flask("front")
@app.get("/")
def index(): return requests.get("http://back/price", timeout=5).text
if __name__ == "__main__": app.run(os.environ["HOST"], int(os.environ["PORT"]))
"""


def deploy(folder: Path, settings: dict[str, str], env: dict[str, str]) -> Kit:
    kit = Kit(folder, env=settings)
    for name, source in (("front", FRONT), ("back", BACK)):
        (folder / name).mkdir()
        (folder / name / "main.py").write_text(source)
        (folder / name / "requirements.txt").write_text("flask\nrequests\n")
    kit.write_list([{"slug": "dir:front", "expose": True, "env": env}, {"slug": "dir:back", "env": env}])
    kit.deploy()
    return kit


def ask(kit: Kit) -> str:
    """Ask the front service from outside; returns the traceparent that the back service got."""
    connection = http.client.HTTPConnection("127.0.0.1", kit.ports["front_door"], timeout=10)
    connection.request("GET", "/", headers={"Host": f"front.localhost:{kit.ports['front_door']}"})
    return connection.getresponse().read().decode()


def check(spans: list[dict[str, str]], traceparent: str) -> None:
    """front's server span → its client span → back's server span."""
    _, trace, parent, _ = traceparent.split("-")
    assert {span["trace"] for span in spans} == {trace}
    by_id = {span["span"]: span for span in spans}
    last = next(span for span in spans if span["service"] == "back")
    call = by_id[last["parent"]]
    first = by_id[call["parent"]]
    assert (call["span"], call["service"], first["service"], first["parent"]) == (parent, "front", "front", "")
    assert (first["name"], last["name"]) == ("GET /", "GET /price")


@pytest.mark.parametrize("protocol", ["grpc", "http/json", "http/protobuf"])
def test_a_collector_gets_one_trace_of_both_services(tmp_path: Path, protocol: str) -> None:
    with Collector(tmp_path) as collector:
        port = collector.grpc if protocol == "grpc" else collector.http
        trace(tmp_path / "kit", collector, port, {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol})


@pytest.mark.parametrize("port", [4317, 4318])
def test_the_standard_ports_need_nothing_but_the_endpoint(tmp_path: Path, port: int) -> None:
    """4317 is spoken to in gRPC, 4318 in OTLP/JSON over HTTP: the real collector would refuse the other one."""
    with Collector(tmp_path, grpc=4317, http=4318) as collector:
        trace(tmp_path / "kit", collector, port, {})


def trace(folder: Path, collector: Collector, port: int, env: dict[str, str]) -> None:
    kit = deploy(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.host}:{port}"}, env)
    try:
        traceparent = ask(kit)
        check(collector.wait(3), traceparent)
    finally:
        kit.destroy()


def test_with_nothing_configured_the_spans_are_lines_of_otlp_json_on_stdout(tmp_path: Path) -> None:
    kit = deploy(tmp_path / "kit", {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {})
    try:
        traceparent = ask(kit)
        apps = [c["Id"] for c in kit.containers() if c["Config"]["Labels"]["karst.role"] == "app"]
        spans = []
        for app in apps:
            said = subprocess.run(["docker", "logs", app], capture_output=True, text=True, check=True).stdout
            for line in said.splitlines():
                if line.startswith('{"resourceSpans"'):
                    spans += list(read(line))
        check(spans, traceparent)
    finally:
        kit.destroy()


def read(line: str) -> list[dict[str, str]]:
    """The spans of one line, in the collector's words."""
    return [
        {
            "service": next(
                a["value"]["stringValue"] for a in r["resource"]["attributes"] if a["key"] == "service.name"
            ),
            "trace": span["traceId"],
            "span": span["spanId"],
            "parent": span.get("parentSpanId", ""),
            "name": span["name"],
        }
        for r in json.loads(line)["resourceSpans"]
        for scope in r["scopeSpans"]
        for span in scope["spans"]
    ]
