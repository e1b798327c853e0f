"""The command behind `make scale`: its list, its arithmetic, and the page that is made of what it saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from karst.manifest import load_file
from tests.scale import __main__ as scale
from tests.scale import create, host, plan, report, results, services
from tests.support import reports
from tests.support.kit import ROOT, Kit

CREATED: dict[str, Any] = {
    "name": "create 50",
    "services": 50,
    "measured": "2026-01-01",
    "machine": "two cores; load before the run 0.5",
    "seconds": {"deploy": 90.0, "deploy: images": 40.0, "destroy": 30.0},
    "terraform_mib": 300,
    "taken": {
        "memory_mib": 5000,
        "threads": 2500,
        "files": 5000,
        "neighbours": 100,
        "inotify": 306,
        "user_threads": 1000,
        "bridge_ports": 51,
    },
    "limits": {"memory_mib": 24000, "threads": 32768, "files": 2466177, "neighbours": 1024, "inotify": 8192},
    "memory_mib": {"app": 50.0, "edge": 30.0, "pod": 0.5, "sidecar": 20.0},
    "subnet": "172.18.0.0/16",
    "idle_cores": {"containers": 0.5, "engine": 0.1},
    "dns_ms": {"median": 0.5, "max": 2.0},
    "envoy_config": {"median": 10000, "longest": 12450},
    "bytes": {"state": 1000000},
}
PLANNED: dict[str, Any] = {
    "name": "plan 1000",
    "services": 1000,
    "seconds": {"fetch": 3.0, "iac plan": 60.0},
    "mib": {"iac plan": 900},
    "bytes": {"fetch": 700000, "plan file": 5000000},
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page and a file of results that a test may write."""
    page = tmp_path / report.PAGE
    page.parent.mkdir()
    page.write_text((ROOT / report.PAGE).read_text())
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    monkeypatch.setattr(reports, "machine", lambda: "two cores; load before the run 0.1")
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    return page


def test_the_scarcest_comes_first_and_says_for_how_many_services_it_is_enough() -> None:
    rows = report.limits(CREATED)
    assert [(row[0].split(",")[0], int(row[2] / row[1])) for row in rows[:3]] == [
        ("memory", 240),
        ("processes and threads of the apps' user", 409),
        ("entries of the kernel's neighbour table", 512),
    ]
    callers = next(row for row in rows if row[0].startswith("callers"))
    assert callers[2] == int((131072 - 10000) / 50)


def test_the_growth_is_told_from_the_smallest_and_the_largest() -> None:
    """Four times the services in sixteen times the time is a square."""
    sizes = [{"services": count, "processor": {"mocked": seconds}} for count, seconds in ((50, 3.0), (200, 48.0))]
    told = report.growth([*sizes, {"services": 1000, "seconds": {"fetch": 40.0}}])
    assert "to the power of 2.0" in told
    assert "1,000 would take 20.0 minutes of it\nin one stack, and 1.0 in twenty stacks of 50" in told
    assert report.growth(sizes[:1]) == ""


def test_what_no_service_takes_bounds_nothing() -> None:
    still = {**CREATED, "taken": {**CREATED["taken"], "files": -3}}
    assert report.limits(still)[-1][0] == "open files of the host"
    assert "no bound seen" in report.first(still)


def test_results_are_kept_and_put_between_the_markers(kept: Path) -> None:
    """A part that was measured alone joins what is there."""
    results.save(PLANNED)
    results.save({**PLANNED, "seconds": {"mocked": 90.0}, "mib": {"mocked": 1500}, "bytes": {}})
    results.save(CREATED)
    results.save({**CREATED, "name": "create 20", "services": 20})
    assert [one["name"] for one in json.loads(results.FILE.read_text())] == ["create 20", "create 50", "plan 1000"]
    report.write()
    text = kept.read_text()
    assert "|  | 20 services | 50 services |" in text
    assert "| first deploy | 90.0 s | 90.0 s |" in text
    assert "| `iac plan` of a stack that is not there yet | 60.0 s |" in text
    assert "| … with mocked providers | 1,500 MiB |" in text
    report.write()
    assert kept.read_text() == text


def test_the_page_shows_the_results_that_are_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--write-docs` was run after the last measurement."""
    monkeypatch.setattr(results, "FILE", ROOT / "tests" / "scale" / "results.json")
    report.write()
    assert kept.read_text() == (ROOT / report.PAGE).read_text()


def test_a_list_of_any_length_is_one_that_the_kit_takes(tmp_path: Path) -> None:
    kit = Kit(tmp_path / "kit")
    services.write(kit, 12)
    listed = load_file(kit.list_file)
    assert len(listed) == 12
    assert len(listed[0].allow or []) == 11
    assert len({(kit.home / one.name / "main.py").read_text() for one in listed}) == 12


def test_an_empty_cache_has_the_toolchain_and_no_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("src", "render", "providers"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    monkeypatch.setenv("KARST_CACHE", str(tmp_path / "cache"))
    env = services.cache_of(tmp_path / "own")
    assert [path.name for path in Path(env["KARST_CACHE"]).iterdir()] == ["providers"]


@pytest.mark.parametrize(("text", "sizes"), [("", []), ("20 50 200", [20, 50, 200]), (" 7 ", [7])])
def test_sizes_are_numbers(text: str, sizes: list[int]) -> None:
    assert scale._sizes(text) == sizes


@pytest.mark.parametrize("text", ["many", "2", "-5", "٣٣", "20,50"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(SystemExit, match="is no number of services"):
        scale._sizes(text)


def test_the_host_can_be_read() -> None:
    """Real figures of this machine: none of them is missing or zero."""
    used, there = host.used(), host.limits()
    assert set(used) <= set(there)
    assert all(value > 0 for value in there.values())
    assert used["memory_mib"] < there["memory_mib"]
    pids = {pid for pid, _ in host.processes()}
    assert host.threads(pids) >= len(pids) - 50
    assert host.ticks(pids) > 0


def test_a_measurement_asks_what_the_module_asks() -> None:
    """The queries are written down twice: here, and in modules/karst_service."""
    module = "".join(path.read_text() for path in (ROOT / "modules" / "karst_service").glob("*.tf"))
    kit, answers = _Somewhere(), {name: {"services": "{}"} for name in plan.HELPERS}
    for name in plan.HELPERS:
        block = module[module.index(f'data "external" "{name}"') :]
        asked = set(plan._query(name, kit, answers))  # type: ignore[arg-type]
        assert {key for key in asked if f"    {key} " not in block[: block.index("\n}\n")]} == set(), name


class _Somewhere:
    list_file, home, stack, secrets_dir = Path("/l"), Path("/h"), "s", Path("/s")


def test_the_steps_of_the_table_are_those_that_are_measured() -> None:
    assert {step for step, _ in report.STEPS} >= set(create.COMMANDS)
