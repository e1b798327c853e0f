"""With `envoy_spans`, one request through two apps and both their sidecars is one trace in a real collector."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("stack")]

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
# From the back service's own span to the first one.
CHAIN = ["back", "back-sidecar", "front-sidecar", "front", "front", "front-sidecar"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_trace_has_both_sidecars_between_the_apps(tmp_path: Path, protocol: str) -> None:
    """Each span is the child of the one before: the context went through every hop. The kit's own leave none."""
    with Collector(tmp_path, grpc=4317) as collector:  # the number is what says gRPC
        endpoint = f"http://{collector.host}:{collector.grpc if protocol == 'grpc' else collector.http}"
        kit = Kit(tmp_path / "kit", env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "KARST_ENVOY_SPANS": "1"})
        for name, source in (("front", FRONT), ("back", BACK)):
            (kit.home / name).mkdir()
            (kit.home / name / "main.py").write_text(source)
            (kit.home / name / "requirements.txt").write_text("flask\nrequests\n")
        kit.write_list([{"slug": "dir:front", "expose": True}, "dir:back"])
        try:
            kit.deploy()
            connection = http.client.HTTPConnection("127.0.0.1", kit.ports["front_door"], timeout=10)
            connection.request("GET", "/", headers={"Host": f"front.localhost:{kit.ports['front_door']}"})
            _, trace, parent, _ = connection.getresponse().read().decode().split("-")
            spans = collector.wait(len(CHAIN))
        finally:
            kit.destroy()
    assert {span["trace"] for span in spans} == {trace}, spans
    by_id = {span["span"]: span for span in spans}
    [last] = [span for span in spans if span["service"] == "back"]
    assert last["parent"] == parent
    chain = [last]
    while chain[-1]["parent"]:
        chain.append(by_id[chain[-1]["parent"]])
    assert [span["service"] for span in chain] == CHAIN
