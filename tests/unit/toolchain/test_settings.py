"""Files of settings at the top: what they say is what the programs read."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]


def _code() -> str:
    files = [path for name in ("scripts", "admin") for path in (ROOT / name).rglob("*") if path.is_file()]
    return "\n".join(path.read_text(errors="replace") for path in files if "__pycache__" not in path.parts)


def test_every_setting_in_the_sample_is_read_by_some_program() -> None:
    names = re.findall(r"^#? {0,3}([A-Z][A-Z0-9_]+)(?:=| {2})", (ROOT / ".env.example").read_text(), re.MULTILINE)
    code = _code()
    ports = {f"KARST_{name}_PORT" for name in ("EDGE", "METRICS", "FRONT_DOOR")}  # put together from the port's name
    assert len(names) > 30
    assert [name for name in names if name not in code and name not in ports] == []


def test_the_sample_sets_nothing_until_somebody_does() -> None:
    """`cp .env.example .env` must not change how the kit behaves."""
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["SUPABASE_URL=", "SUPABASE_SERVICE_ROLE_KEY="]


def test_commit_hooks_are_local_so_that_nothing_is_fetched() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    for hook in config["repos"][0]["hooks"]:
        programs = re.findall(r"scripts/toolchain/[a-z-]+", hook["entry"])
        assert hook["language"] == "pygrep" or programs
        assert all((ROOT / program).is_file() for program in programs)


def test_what_the_kit_makes_is_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name in ("/secrets/", "/.env", "*.tfstate", "*.tfplan", "*.auto.tfvars.json", "/envs/*/terraform.d/"):
        assert name in ignored
