"""The command behind `make scale`: its list, its arithmetic, and the page that is made of what it saw."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from karst.manifest import load_file
from tests.scale import __main__ as scale
from tests.scale import bounds, create, host, plan, report, results, services, split, steps, tables
from tests.scale.shortages import bench, bridge, callers, machine, processes
from tests.support import reports
from tests.support.kit import ROOT, Kit

CREATED: dict[str, Any] = {
    "name": "create 50",
    "services": 50,
    "measured": "2026-01-01",
    "machine": "2 × AMD EPYC, 24 GiB; load before the run 0.5",
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
    rows = bounds.limits(CREATED)
    assert [(row[0].split(",")[0], int(row[2] / row[1])) for row in rows[:4]] == [
        ("cores", 166),
        ("memory", 240),
        ("processes and threads of the apps' user", 409),
        ("entries of the kernel's neighbour table", 512),
    ]
    callers = next(row for row in rows if row[0].startswith("callers"))
    assert callers[2] == int((131072 - 10000) / 50)


def test_the_growth_is_told_from_the_smallest_and_the_largest() -> None:
    """Four times the services in sixteen times the time is a square."""
    sizes = [{"services": count, "processor": {"mocked": seconds}} for count, seconds in ((50, 3.0), (200, 48.0))]
    assert "to the power of 2.0" in " ".join(report.growth([*sizes, {"services": 1000, "seconds": {}}]).split("\n"))
    assert report.growth(sizes[:1]) == ""


def test_the_order_of_everything_is_told_for_twice_as_many(kept: Path) -> None:
    for count, seconds in ((25, 3.0), (50, 12.0)):
        steps_ = {"make": 1.0, "replace": seconds, "remove": 2.0}
        results.save({"name": f"order {count}", "services": count, "processor": steps_, "mib": {"replace": 200}})
    report.write()
    text = kept.read_text()
    assert "| all are replaced | 3 s, 200 MiB | 12 s, 200 MiB |" in text
    assert (
        "to the power of 2.0: by that, 100 services\nwould take 0.8 minutes in one stack, and 0.2 in 4 stacks of 25"
        in text
    )


def test_what_no_service_takes_bounds_nothing() -> None:
    still = {**CREATED, "taken": {**CREATED["taken"], "files": -3}}
    assert bounds.limits(still)[-1][0] == "open files of the host"
    assert "no bound seen" in bounds.first([still])


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
    assert {step for step, _ in tables.STEPS} >= set(create.COMMANDS) | set(split.NAMES)
    assert set(create.LIMITS) >= set(create.COMMANDS) | set(split.NAMES)


def test_what_was_given_up_or_failed_is_told(kept: Path) -> None:
    """A creation that did not get there has no sizes, and the table comes about all the same."""
    cut = {key: CREATED[key] for key in ("measured", "machine", "terraform_mib")} | {
        "name": "create 200",
        "services": 200,
        "seconds": {},
        "given_up": {"deploy": 900.0, "health": 0},
        "failed": {"destroy": "the engine did not answer"},
    }
    results.save(CREATED)
    results.save(cut)
    report.write()
    text = kept.read_text()
    assert "| first deploy | 90.0 s | given up after 900 s |" in text
    assert "| `iac destroy` | 30.0 s | failed |" in text
    assert "| `iac health` | – | no time left |" in text
    assert "200 services, destroy: the engine did not answer" in text
    assert "From what 50 services took" in text


def test_a_creation_that_is_repeated_forgets_what_went_wrong_before(kept: Path) -> None:
    results.save({**CREATED, "given_up": {"destroy": 400.0}})
    results.save(CREATED)
    assert "given_up" not in results.load()["create 50"]


def _kit(tmp_path: Path, script: str) -> Kit:
    """A kit whose `iac` is this shell script."""
    program = tmp_path / "iac"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Kit(tmp_path / "stack", program=program)


def test_a_command_that_takes_too_long_is_interrupted_and_says_what_it_had(tmp_path: Path) -> None:
    kit = _kit(tmp_path, """trap 'echo "{\\"type\\": \\"result\\"}"; exit 130' INT; while :; do sleep 0.05; done""")
    done = steps.run(kit, "deploy", limit=0.5)
    assert done.code is None
    assert done.events == [{"type": "result"}]
    result: dict[str, Any] = {"name": "create 3", "seconds": {}}
    steps.note(result, "deploy", done)
    assert list(result["given_up"]) == ["deploy"]
    assert result["seconds"] == {}


def test_a_command_that_fails_is_noted_with_its_last_words(tmp_path: Path) -> None:
    done = steps.run(_kit(tmp_path, "echo iac: no engine >&2; exit 1"), "health", limit=10)
    result: dict[str, Any] = {"name": "create 3", "seconds": {}}
    steps.note(result, "health", done)
    assert result["failed"] == {"health": "iac: no engine"}


def test_a_measurement_without_time_left_begins_nothing(tmp_path: Path) -> None:
    clock = steps.Clock(0)
    assert clock.allows(60) == 0
    assert steps.run(_kit(tmp_path, "exit 0"), "deploy", limit=clock.allows(60)).code is None
    assert steps.Clock().allows(60) == 60


def test_the_phases_of_a_deploy_come_from_its_events() -> None:
    def event(kind: str, at: int, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "ts": f"2026-01-01T00:00:{at:02}Z", **fields}

    events = [
        event("phase", 1, phase="plan", state="done", seconds=1.0),
        event("phase", 1, phase="apply", state="start"),
        event("service", 5, step="image", state="start"),
        event("service", 9, step="pod", state="start"),
    ]
    assert create.phases(events) == {"plan": 1.0, "images": 8.0}


def _ended(**error: str) -> steps.Step:
    return steps.Step(1.0, 1, json.dumps({"type": "result", "error": error}) + "\n", "")


def test_what_the_user_reads_is_the_first_sentence_and_the_hint() -> None:
    told = bench.sentence(_ended(message="the network is full (veth1)\nmore", hint="split the list"))
    assert told == "the network is full (veth1) – split the list"
    assert bench.sentence(_ended(message="it is full\n  hint: split it", hint="")) == "it is full – split it"
    assert bench.sentence(steps.Step(300.0, None, "", "")) == "nothing: it did not end"


def test_the_number_of_processes_can_be_lowered_in_a_copy(tmp_path: Path) -> None:
    """It is where the trial looks for it."""
    copy = tmp_path / "generations.tf"
    copy.write_text((ROOT / "modules" / "karst_service" / "generations.tf").read_text())
    assert processes.limit(copy, 300) == bounds.PER_USER_PROCESSES
    assert processes.limit(copy, 400) == 300


def test_settings_of_the_kernel_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSCTL", tmp_path)
    (tmp_path / "one").write_text("1024\n")
    with machine.kept("one") as before:
        machine.put({"one": "24"})
        assert before == {"one": "1024"}
        assert (tmp_path / "one").read_text() == "24"
    assert (tmp_path / "one").read_text() == "1024"


@pytest.mark.slow
def test_more_callers_than_an_envoy_takes_are_refused_in_the_plan(tmp_path: Path) -> None:
    """And not by Docker, with words of its own, when everything has been built."""
    kit, answers = callers.prepare(tmp_path)
    assert callers.refusal(kit, answers, 900) == ""
    assert "`allow:` of `svc-0001` (1400) names more services" in callers.refusal(kit, answers, 1400)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_bridge_takes_as_many_ports_as_the_page_says() -> None:
    name = f"karst{secrets.token_hex(3)}b"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "add", "lan", "type", "bridge"], check=True)
        assert bridge.fill(name, "lan") == (bounds.BRIDGE_PORTS, "Exchange full")
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
