"""Real published applications, from gh:, gl: and bb: repositories, up by one apply, each asked over mTLS."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.corpus.sources import Unavailable, checkout
from tests.support import reports
from tests.support.githost import GitHost
from tests.support.kit import Kit, docker

APPS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "real_apps.yaml").read_text())
pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(3600)]
TOKEN = "gh-token-for-tests"
# Dozens of images are built while the first services start: a gate shares the cores with them.
GATE_SECONDS = "300"


def _name(app: dict[str, Any]) -> str:
    name = app.get("entry", {}).get("name") or app["slug"].rpartition("/")[2]
    return str(name).lower().replace(".", "-")


@dataclass
class Run:
    """The one deploy: events, health afterwards, and why an app is not in it, by name."""

    kit: Kit
    events: list[dict[str, Any]]
    health: dict[str, dict[str, Any]]
    absent: dict[str, str]

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """What Terraform put out about each service."""
        found: dict[str, dict[str, Any]] = json.loads(self.kit.state_file.read_text())["outputs"]["services"]["value"]
        return found

    @property
    def runner(self) -> str:
        """The image that all services are built on."""
        images = [r for r in json.loads(self.kit.state_file.read_text())["resources"] if r["name"] == "infra"]
        names = (i["attributes"]["name"] for r in images for i in r["instances"] if i["index_key"] == "runner")
        return str(next(names))

    def build_seconds(self, name: str) -> float:
        """From the first to the last word about its image."""
        times = [
            datetime.datetime.fromisoformat(event["ts"])
            for event in self.events
            if event["type"] == "service" and (event["service"], event["step"]) == (name, "image")
        ]
        return (max(times) - min(times)).total_seconds()

    def phase_seconds(self, name: str) -> float:
        return sum(float(e.get("seconds", 0)) for e in self.events if e["type"] == "phase" and e["phase"] == name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All of them, deployed at once."""
    absent = {}
    with GitHost(tmp_path_factory.mktemp("githost")) as host:
        kit = Kit(tmp_path_factory.mktemp("real"))
        kit.env |= {**host.environment(), "GITHUB_TOKEN": TOKEN, "KARST_GATE_TIMEOUT": GATE_SECONDS}
        entries = []
        for app in APPS:
            try:
                host.create(app["slug"], checkout(app["what"]), **app.get("options", {}))
                entries.append({"slug": app["slug"], **app.get("entry", {})})
            except Unavailable as err:
                absent[_name(app)] = str(err)
        kit.write_list(entries)
        try:
            done = kit.iac("deploy", "--file", str(kit.list_file), "--events", check=None, timeout=3000)
            events = [json.loads(line) for line in done.stdout.splitlines()]
            yield Run(kit, events, kit.health(check=None), absent)
        finally:
            kit.iac("destroy", "--yes", check=None, timeout=900)


@pytest.mark.parametrize("app", APPS, ids=lambda app: f"{app['what']} ({app['shape']})")
def test_it_answers_over_mtls(app: dict[str, Any], run: Run) -> None:
    """SERVING, or COMPLETED for a job; else its log is the failure's text."""
    name = _name(app)
    if name in run.absent:
        pytest.skip(f"{app['what']} cannot be had: {run.absent[name]}")
    answer = run.health.get(name, {"status": "not deployed"})
    said = run.kit.iac("logs", "--service", name, "--tail", "30", check=None).stdout
    assert answer["status"] == app.get("status", "SERVING"), f"{answer}\n{said}"


def test_a_second_deploy_of_all_changes_nothing(run: Run) -> None:
    """The empty plan, with as many shapes of repositories as there are."""
    before = run.kit.pods()
    plan = next(event for event in run.kit.deploy() if event["type"] == "plan")
    assert plan["changes"] == 0
    assert run.kit.pods() == before


def _size(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def report(run: Run) -> tuple[list[list[object]], str]:
    """The table's rows, and the text that goes into the docs."""
    base = _size(run.runner)
    rows: list[list[object]] = []
    for app in APPS:
        name = _name(app)
        if name in run.absent:
            continue
        service, answer = run.services[name], run.health[name]
        command = " ".join(service["argv"])
        rows.append(
            [
                f"`{app['slug']}`",
                app["shape"],
                f"`{command[:60]}{'…' if len(command) > 60 else ''}`",
                service["rule"],
                answer["app_port"],
                answer["kind"],
                f"{(_size(service['image']) - base) / 1e6:.1f} MB",
                f"{run.build_seconds(name):.0f} s",
                answer["status"],
            ]
        )
    head = ["slug", "shape", "command", "rule", "port", "kind", "over the runner", "build", "status"]
    took = ", ".join(f"{name} {run.phase_seconds(name):.0f} s" for name in ("plan", "apply"))
    when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    text = f"{len(rows)} services by one `iac deploy`: {took}. Machine: {reports.machine()}. {when}."
    return rows, f"{reports.table(head, rows)}\n\n{text}"


def test_the_table_in_the_docs_is_of_this_run(run: Run) -> None:
    """`make deployed` writes it; without that, what would be written has a row for each service."""
    rows, text = report(run)
    assert len(rows) >= 25
    if os.environ.get("KARST_TEST_WRITE_DOCS") == "1":
        reports.write("docs/deployed.md", "deployed", text)
