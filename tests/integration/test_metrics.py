"""Figures of a live stack: what `iac stats` and `iac graph` print, and what a real Prometheus makes of them."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kit import ROOT, Kit
from tests.support.prometheus import Prometheus, program

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("stack")]

DOCS = ROOT / "docs" / "observability"
BACK = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Back(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if self.path == "/bad" else 200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"back")
if __name__ == "__main__": ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Back).serve_forever()
"""
# /bad asks for back's /bad; /no asks a service that does not let this one in. The status is passed on.
FRONT = """
import os, urllib.error, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Front(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            url = "http://hidden/" if self.path == "/no" else "http://back" + self.path
            status = urllib.request.urlopen(url).status
        except urllib.error.HTTPError as err:
            status = err.code
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
if __name__ == "__main__": ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Front).serve_forever()
"""


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("metrics")
    kit = Kit(folder)
    for name, source in (("front", FRONT), ("back", BACK), ("hidden", BACK)):
        (folder / name).mkdir()
        (folder / name / "main.py").write_text(source)
    kit.write_list([{"slug": "dir:front", "expose": True}, "dir:back", {"slug": "dir:hidden", "allow": ["back"]}])
    try:
        kit.deploy()
        yield kit
    finally:
        kit.destroy()
    assert not discovery(kit).exists()


@pytest.fixture(scope="module")
def traffic(kit: Kit) -> Iterator[None]:
    """Some twenty requests a second through the front door, good ones, errors and refused ones, until the end."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for path, status in (("/", 200), ("/", 200), ("/bad", 500), ("/no", 403)):
                connection = http.client.HTTPConnection("127.0.0.1", kit.ports["front_door"], timeout=10)
                connection.request("GET", path, headers={"Host": f"front.localhost:{kit.ports['front_door']}"})
                answer = connection.getresponse()
                assert answer.status == status, (path, answer.status, answer.read())
                connection.close()
            time.sleep(0.1)

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    over.set()
    asking.join()


def discovery(kit: Kit) -> Path:
    return kit.home / "state" / f"{kit.stack}.prometheus.json"


def test_stats_and_graph_tell_of_calls_errors_and_refusals(kit: Kit, traffic: None) -> None:
    deadline = time.monotonic() + 30
    rows: dict[str, Any] = {}
    while not rows or rows["back"]["inbound"]["p50_ms"] is None:  # Envoy adds up its times every five seconds
        assert time.monotonic() < deadline, rows
        rows = {row["service"]: row for row in json.loads(kit.iac("stats", "--json").stdout)}
    front, back, hidden = rows["front"], rows["back"], rows["hidden"]
    assert front["inbound"]["rate"] > 0
    assert front["outbound"]["errors"] > 0
    assert back["inbound"]["errors"] > 0
    assert 0 < back["inbound"]["p50_ms"] <= back["inbound"]["p95_ms"] <= back["inbound"]["p99_ms"]
    assert hidden["rbac_denied"] == hidden["inbound"]["refused"] > 0
    for row in rows.values():
        assert 1 << 20 < row["memory"]["sidecar"]["used"] < row["memory"]["sidecar"]["limit"]
        assert row["memory"]["app"]["used"] > 1 << 20
    graph = json.loads(kit.iac("graph", "--json").stdout)
    edges = {(edge["from"], edge["to"]): edge for edge in graph["edges"]}
    assert {pair for pair, edge in edges.items() if edge["did"]} == {
        ("edge", "front"),
        ("front", "back"),
        ("front", "hidden"),
    }
    assert (edges["front", "back"]["why"], edges["back", "hidden"]["why"]) == ("default", "allow")
    assert not edges["front", "hidden"]["may"]
    assert edges["front", "back"]["rate"] > 0
    assert '"front" -> "hidden" [color="red"' in kit.iac("graph", "--dot").stdout
    assert "hidden" in kit.iac("stats", "hidden").stdout
    assert "did you mean `hidden`" in kit.iac("stats", "hiden", check=2).stderr


def test_terraforms_output_and_what_iac_writes_are_the_same(kit: Kit) -> None:
    outputs = json.loads(kit.state_file.read_text())["outputs"]
    key = lambda group: group["labels"]["service"]  # noqa: E731
    written = sorted(json.loads(discovery(kit).read_text()), key=key)
    assert written == sorted(outputs["prometheus_targets"]["value"], key=key)
    assert [key(group) for group in written] == ["back", "edge", "front", "hidden"]


def test_every_query_of_the_dashboard_returns_data(kit: Kit, traffic: None, tmp_path: Path) -> None:
    """With the shipped configuration: only the file's place and the pace are changed."""
    text = (DOCS / "prometheus.yml").read_text()
    place = "../../.karst/stacks/*.prometheus.json"
    assert place in text
    configuration = tmp_path / "prometheus.yml"
    pattern = discovery(kit).with_name("*.prometheus.json")
    configuration.write_text(text.replace(place, str(pattern)).replace("scrape_interval: 15s", "scrape_interval: 1s"))
    checked = subprocess.run(
        [program("promtool"), "check", "config", str(configuration)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with Prometheus(tmp_path, configuration) as prometheus:
        targets = prometheus.wait("up == 1 and on(service) up{service='hidden'}") and prometheus.values("up")
        while len(targets) < 4:
            targets = prometheus.values("up")
        labels = {(row["service"], row["stack"]) for row, _ in targets}
        assert labels == {(name, kit.stack) for name in ("back", "edge", "front", "hidden")}
        assert all(value == 1 for _, value in targets), targets
        dashboard = json.loads((DOCS / "grafana.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
        assert len(queries) > 20
        for query in queries:
            for variable, value in (("$__rate_interval", "15s"), ("$stack", kit.stack), ("$service", ".*")):
                query = query.replace(variable, value)
            assert "$" not in query, query
            prometheus.wait(query)
        [(_, errors)] = prometheus.wait(
            f'sum(rate(envoy_karst_served{{service="back",code="500",stack="{kit.stack}"}}[15s])) > 0'
        )
        assert errors > 0
