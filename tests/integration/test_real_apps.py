"""Real published applications, from gh:, gl: and bb: repositories, up by one apply, each asked over mTLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.corpus.sources import Unavailable, checkout
from tests.support.githost import GitHost
from tests.support.kit import Kit

APPS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "real_apps.yaml").read_text())
pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(1800)]


def _name(app: dict[str, Any]) -> str:
    return str(app["slug"].rpartition("/")[2])


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """All of them, deployed at once."""
    with GitHost(tmp_path_factory.mktemp("githost")) as host:
        for app in APPS:
            try:
                source = checkout(f"pypi:{app['what']}")
            except Unavailable as err:
                pytest.skip(f"{app['what']} cannot be had: {err}")
            host.create(app["slug"], source, **app.get("options", {}))
        tokens = {f"{kind}_TOKEN": "gh-token-for-tests" for kind in ("GITHUB",)}
        kit = Kit(tmp_path_factory.mktemp("real"), env={**host.environment(), **tokens})
        kit.write_list([{"slug": app["slug"], **app.get("entry", {})} for app in APPS])
        try:
            kit.iac("deploy", "--file", str(kit.list_file), check=None, timeout=1500)
            yield kit
        finally:
            kit.iac("destroy", "--yes", check=None)


@pytest.fixture(scope="module")
def health(kit: Kit) -> dict[str, dict[str, Any]]:
    return kit.health(check=None)


@pytest.mark.parametrize("app", APPS, ids=lambda app: f"{app['what']} ({app['shape']})")
def test_it_answers_over_mtls(app: dict[str, Any], health: dict[str, dict[str, Any]], kit: Kit) -> None:
    """SERVING, or COMPLETED for the job; else its log is the failure's text."""
    answer = health.get(_name(app), {"status": "not deployed"})
    said = kit.iac("logs", "--service", _name(app), "--tail", "30", check=None).stdout if answer else ""
    assert answer["status"] == app["status"], f"{answer}\n{said}"


def test_a_second_deploy_of_all_changes_nothing(kit: Kit) -> None:
    """The empty plan, with as many shapes of repositories as there are."""
    before = kit.pods()
    plan = next(event for event in kit.deploy() if event["type"] == "plan")
    assert plan["changes"] == 0
    assert kit.pods() == before
