"""docs/admin.md is true: its curl examples run, its settings, limits and routes are the real ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from admin.settings import Limits
from tests.support.admin_app import App

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "admin.md").read_text()
EXAMPLES = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("unix", [True, False], ids=["unix", "tcp"])
def test_the_curl_examples_work_as_they_stand(unix: bool, app: App, tmp_path: Path) -> None:
    """On the socket as written, and over TCP as the text says."""
    header = tmp_path / "token.header"
    header.write_text(f"Authorization: Bearer {app.token('deployer')}\n")
    assert len(EXAMPLES) == 4
    for example in EXAMPLES:
        if unix:
            script = example.replace("/run/iac_wrapper.sock", str(app.instance.socket_path))
        else:
            script = example.replace("--unix-socket /run/iac_wrapper.sock ", "").replace(
                "http://localhost", f"http://127.0.0.1:{app.port}"
            )
        script = script.replace("curl -sS", "curl -sS --fail-with-body")
        done = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, script + done.stdout + done.stderr
        if "/deploy\n" in script:
            assert '"type": "result"' in done.stdout.splitlines()[-1]


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    code = "".join(
        path.read_text() for path in (ROOT / "admin").rglob("*.py") if "cli" not in path.relative_to(ROOT).parts
    )
    pattern = r"\b(?:KARST_(?:ADMIN|AUTH)_[A-Z0-9_]*[A-Z0-9]|SUPABASE_[A-Z_]+[A-Z])\b"
    read = set(re.findall(rf"\"({pattern})\"", code))
    table = TEXT[TEXT.index("## Settings") : TEXT.index("## Limits")]
    assert set(re.findall(pattern, table)) == read
    assert read - {"KARST_ADMIN_COMMAND"} <= set(re.findall(pattern, (ROOT / ".env.example").read_text()))


def test_every_route_is_in_the_table() -> None:
    paths = yaml.safe_load((ROOT / "admin" / "api" / "openapi.yaml").read_text())["paths"]
    short = {path.replace("{run_id}", "{id}").replace("{service}", "{s}") for path in paths if path != "/"}
    assert "`GET /`" in TEXT
    table = TEXT[TEXT.index("| route |") : TEXT.index("Errors are problem")]
    assert set(re.findall(r"(/[a-z0-9/{}._-]+)", table)) - {"/event"} >= short


def test_the_limits_are_the_real_ones() -> None:
    limits = Limits()
    table = TEXT[TEXT.index("## Limits") : TEXT.index("One process")]
    assert f"{limits.body // 1024} KiB, {limits.header // 1024} KiB" in table
    assert f"reads {limits.reads:g} a second ({limits.reads_burst:g} at once)" in table
    assert f"one every {1 / limits.writes:g} seconds ({limits.writes_burst:g} at once)" in table
    assert f"{limits.streams}, of one caller {limits.streams_per_subject}; {limits.threads} threads" in table
    assert f"{limits.request_seconds:g} s, {limits.stall_seconds:g} s" in table
    assert f"| {limits.connections} |" in table
    assert f"log streams, deploys | {limits.grpc_streams} |" in table


def test_the_unit_keeps_runs_alive_and_starts_what_is_there() -> None:
    """KillMode=process, or a restart would kill the run that is under way."""
    unit = (ROOT / "docs" / "systemd" / "karst-admin.service").read_text()
    assert "KillMode=process\n" in unit
    assert "ExecStart=/opt/karstkit/scripts/admin\n" in unit
    assert (ROOT / "scripts" / "admin").stat().st_mode & 0o111


def test_the_pictures_are_there_and_small() -> None:
    """Every picture that a document shows, and none that nobody shows."""
    text = TEXT + "".join((ROOT / name).read_text() for name in ("README.md", "docs/benchmarks.md"))
    shown = set(re.findall(r"\]\((?:docs/)?images/([a-z-]+\.(?:png|svg))\)", text))
    files = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert set(files) == shown
    assert max(files.values()) < 200_000
