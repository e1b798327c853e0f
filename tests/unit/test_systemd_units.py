"""The units in docs/systemd: systemd itself reads them, and what they start is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "docs" / "systemd").iterdir())
# What stands for the host's own units where there are none.
OTHERS = ("docker.service", "network-online.target", "multi-user.target", "timers.target")


def test_systemd_finds_nothing_wrong_with_any_unit(tmp_path: Path) -> None:
    """Unknown keys, bad values, programs that are not there: systemd only warns of them, so it must say nothing."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("THERE IS NO systemd-analyze HERE: the units are not verified")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/karstkit", str(ROOT)))
    for name in OTHERS:
        kind = "[Service]\nExecStart=/bin/true\n" if name.endswith(".service") else "[Unit]\nDescription=x\n"
        (tmp_path / name).write_text(kind)
    command = ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)]
    env = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_each_timer_has_its_service_and_runs_after_the_machine_was_off() -> None:
    timers = [unit for unit in UNITS if unit.suffix == ".timer"]
    assert {timer.stem for timer in timers} >= {"karst-backup", "karst-certs", "karst-prune", "karst-drift"}
    for timer in timers:
        assert timer.with_suffix(".service").exists()
        assert "\nPersistent=true\n" in timer.read_text()


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.stem)
def test_a_unit_is_nobody_special_and_is_documented(unit: Path) -> None:
    text = unit.read_text()
    assert "\nUser=karst\n" in text
    assert "\nNoNewPrivileges=yes\n" in text
    [page] = re.findall(r"^Documentation=file:/opt/karstkit/(docs/\w+\.md)$", text, re.MULTILINE)
    assert unit.stem in (ROOT / page).read_text()


def test_every_unit_is_in_the_table_of_the_operations_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert [unit.name for unit in UNITS if f"`{unit.stem}`" not in page] == []
