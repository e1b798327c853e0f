"""Every route of the OpenAPI document against every recorded kind of token: nothing answers without the right one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from admin.api import meta
from tests.support.admin_app import App
from tests.support.auth_server import StubAuth
from tests.unit.admin.test_auth_matrix import CASES
from tests.unit.admin.test_routes import RUN

pytestmark = pytest.mark.slow

VALUES = {"run_id": RUN, "service": "web", "name": "main.js"}
FAST = {"reads": 1e6, "reads_burst": 1e6, "writes": 1e6, "writes_burst": 1e6}


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of each operation that names no exception from the bearer token."""
    document = yaml.safe_load(Path(meta.__file__).with_name("openapi.yaml").read_text())
    assert document["security"] == [{"bearer": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") != []:
                yield method.upper(), path.format(**VALUES)


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("case", CASES)
def test_each_route_takes_the_right_tokens_and_no_other(case: str, unix: bool, start_app: Callable[..., App]) -> None:
    """401 on each of them for each wrong token, with a problem document; none of them started anything."""
    app = start_app(limits=FAST)
    app.stack.follow_seconds = 0.02
    make, *_, accepted = CASES[case]
    found = list(routes())
    assert len(found) >= 16
    for method, path in found:
        header = make(StubAuth(app.supabase))
        headers = {"Authorization": header} if header else {}
        # A body that starts nothing also for those who may: the token is what is looked at first.
        answer = app.call(method, path, headers=headers, body={} if method == "POST" else None, unix=unix)
        if accepted:
            assert answer.status in (200, 404, 422), (method, path, answer.body)
        else:
            assert answer.status == 401, (method, path, answer.body)
            assert json.loads(answer.body)["status"] == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert app.instance.runs.all() == []
