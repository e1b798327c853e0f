"""The OpenAPI document, held to the running app by schemathesis: valid requests, invalid ones, sequences of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.admin_app import App

# What a schema cannot say (two entries that come to one name, a plan that is stale) is refused with these.
CONFIG = """
[parameters]
"path.run_id" = {run_id!r}
"path.name" = "main.js"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429]
[checks.missing_required_header]
enabled = false
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_schemathesis_finds_nothing(start_app: Callable[..., App], tmp_path: Path) -> None:
    """All its checks, with an admin's token, on the real server."""
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists():
        pytest.skip("schemathesis is not installed: `make bootstrap` installs the development requirements")
    many = {"reads": 1e6, "reads_burst": 1e6, "writes": 1e6, "writes_burst": 1e6}
    app = start_app(limits=many)
    app.stack.follow_seconds = 0.02
    run_id = app.start_run()
    app.wait_done(run_id)
    (tmp_path / "openapi.json").write_bytes(app.call("GET", "/openapi.json", role="admin").body)
    document = json.loads((tmp_path / "openapi.json").read_text())
    operations = sum(len(methods) for methods in document["paths"].values())
    (tmp_path / "schemathesis.toml").write_text(CONFIG.format(run_id=run_id))
    done = subprocess.run(
        [
            str(command),
            "run",
            str(tmp_path / "openapi.json"),
            f"--url=http://127.0.0.1:{app.port}",
            f"--header=Authorization: Bearer {app.token('admin')}",
            "--checks=all",
            "--max-examples=8",
            "--seed=1",
            "--suppress-health-check=all",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"Tested: {operations}\n" in done.stdout
