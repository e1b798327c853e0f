"""The local git host as a process of its own, as the integration tests of whole deployments use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from karst.fetch import fetch_all
from karst.manifest import parse_list

ROOT = Path(__file__).resolve().parents[3]


def test_as_a_process_it_serves_folders_and_ends_on_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(f"print('{name}')\n")
    command = [
        sys.executable,
        "-m",
        "tests.support.githost",
        "--root",
        tmp_path / "root",
        "--env-file",
        tmp_path / "env",
    ]
    repositories = [f"gh:acme/one#v1={tmp_path}/one", f"gl:a/b/two={tmp_path}/two", f"bb:acme/three={tmp_path}/three"]
    options = ["--private", "gl:a/b/two=t0ken", "--clone-only", "bb:acme/three"]
    add = [word for item in repositories for word in ("--add", item)]
    process = subprocess.Popen(
        [*command, *add, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("KARST_GH_URL=http://127.0.0.1:")
        deadline = time.monotonic() + 20
        while not (tmp_path / "env").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for line in (tmp_path / "env").read_text().splitlines():
            name, _, value = line.partition("=")
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GITLAB_TOKEN", "t0ken")
        slugs = ["gh:acme/one#v1", "gl:a/b/two", "bb:acme/three"]
        fetched = fetch_all(parse_list(slugs, tmp_path), tmp_path)
        assert {name: (one.source / "main.py").read_text() for name, one in fetched.items()} == {
            name: f"print('{name}')\n" for name in ("one", "two", "three")
        }
        base = os.environ["KARST_GH_URL"].removesuffix("/gh")
        with urllib.request.urlopen(f"{base}/_log", timeout=10) as answer:
            assert any("upload-pack" in entry["path"] for entry in json.load(answer))
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0
        if process.stdout is not None:
            process.stdout.close()
