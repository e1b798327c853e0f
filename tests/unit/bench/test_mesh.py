"""What the bench of the mesh makes of what it has measured, and that each variant is one that Envoy takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests.bench import cgroups, footprint, mesh, variants
from tests.bench.mesh.compare import Load, compare
from tests.bench.mesh.load import Outcome, due_times
from tests.bench.mesh.stage import Variant
from tests.bench.mesh.variants import VARIANTS
from tests.support import envoy


def _row(thread: int, iteration: int, sent: float, took: float) -> dict[str, Any]:
    return {"thread": thread, "iter": iteration, "timestamp": int(sent * 1e9), "latency": took}


def test_a_request_that_had_to_wait_for_the_one_before_counts_from_when_it_was_due() -> None:
    rows = [_row(0, 0, 10.0, 0.25), _row(0, 1, 10.25, 0.01), _row(1, 0, 10.05, 0.01), _row(0, 2, 10.3, 0.01)]
    # Three in 0.2 s, so the second was due at 10.1, the third at 10.2; thread 1 has its own times.
    assert due_times(rows, 0.2 / 3) == pytest.approx([250, 10, 160, 110])


def test_a_request_sent_late_by_the_load_itself_counts_from_when_it_was_sent() -> None:
    assert due_times([_row(0, 0, 10.0, 0.01), _row(0, 1, 10.13, 0.02)], 0.05) == pytest.approx([10, 20])


def _results() -> list[dict[str, Any]]:
    def one(p50: float, cpu: float) -> dict[str, Any]:
        return {"sent": 100, "failed": 0, "p50": p50, "p99": 2 * p50, "cpu": [cpu, cpu]}

    load = {"hops": 2, "protocol": "gRPC", "size": 1000, "rate": 500}
    systems = {"karst": one(1.0, 0.3), "haproxy": one(0.8, 0.2), "nginx": one(0.5, 0.1), "direct": one(0.2, 0)}
    full = {"hops": 2, "protocol": "gRPC", "size": 1000, "rate": 0}
    fast = {name: {**said, "per_second": place * 1000} for place, (name, said) in enumerate(systems.items(), 1)}
    without = {name: said for name, said in systems.items() if name != "haproxy"}
    return [
        {"name": "a", **load, "systems": systems},
        {"name": "b", **full, "systems": fast},
        {"name": "c", **load, "size": 100_000, "systems": without, "failures": {"haproxy": "nobody answered"}},
    ]


def test_the_tables_have_the_ratios_that_the_aims_speak_of() -> None:
    text = mesh.tables(_results())
    assert "| gRPC, 1 kB, 500/s | 0.20 / 0.40 | 1.00 / 2.00 | 0.80 / 1.60 | 0.50 / 1.00 | 2.00 / 2.00 |" in text
    assert "| gRPC, 1 kB, 500/s | 0.300 + 0.300 | 0.200 + 0.200 | 0.100 + 0.100 | 1.50 |" in text
    assert "| gRPC, 1 kB | 4,000 | 1,000 | 2,000 | 3,000 | 0.33 |" in text
    assert "| gRPC, 100 kB, 500/s | 0.20 / 0.40 | 1.00 / 2.00 | – | 0.50 / 1.00 | 2.00 / 2.00 |" in text
    assert "Could not be measured: c, haproxy: nobody answered." in text
    assert "gRPC" in mesh.pictures(_results())["bench-mesh.svg"]


def test_nothing_measured_makes_no_tables() -> None:
    for part in (variants, footprint):
        assert part.tables([{"name": "x", "error": "no engine"}]) == "Could not be measured: x (no engine)."
        assert part.pictures([]) == {}
    assert mesh.tables([{"name": "x", "systems": {}, "failures": {"karst": "silent"}}]) == (
        "Could not be measured: x, karst: silent."
    )
    assert mesh.pictures([]) == {}


def test_a_pair_that_hangs_is_left_out_and_named() -> None:
    """haproxy's did so with gRPC bodies of 100 kB."""

    class Stage:
        asked: ClassVar[list[str]] = []

        def load(self, system: str, *_: Any, **__: Any) -> tuple[Outcome, list[float]]:
            self.asked.append(system)
            if system == "haproxy":
                raise AssertionError("requests without an answer")
            return Outcome(1, 0, 10.0, [1.0]), [0.1]

    made = compare(Stage(), Load(2, "gRPC", 100_000, 200, 1), ["karst", "haproxy"], 3)  # type: ignore[arg-type]
    assert set(made["systems"]) == {"karst"}
    assert made["failures"] == {"haproxy": "requests without an answer"}
    assert Stage.asked.count("haproxy") == 1


def test_what_a_variant_changes_is_shown_beside_the_pair_as_deployed() -> None:
    deployed = {"sent": 9, "failed": 0, "p50": 1.0, "p99": 4.0, "cpu": [0.3, 0.2]}
    changed = {**deployed, "p50": 0.5, "cpu": [0.2, 0.2]}
    load = variants.LOADS[0].name
    row = {"name": "tcp", "what": "TCP", "loads": {load: {"deployed": deployed, "changed": changed}}}
    assert "| `tcp`: TCP | 0.80; 0.50 / 1.00 |" in variants.tables([row])


def test_the_accounts_of_both_kinds_of_cgroups_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    old, new = (object.__new__(cgroups.Account) for _ in range(2))
    for name, content in {
        "cpuacct/a/cpuacct.usage": "5000",
        "memory/a/memory.usage_in_bytes": "900",
        "memory/a/memory.stat": "cache 500\ninactive_file 1\ntotal_inactive_file 100",
        "b/cpu.stat": "usage_usec 5\nuser_usec 4",
        "b/memory.current": "900",
        "b/memory.stat": "inactive_file 100",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    old.place({"cpu,cpuacct": "/a", "memory": "/a"})
    new.place({"": "/b"})
    assert (old.cpu(), old.memory()) == (new.cpu(), new.memory()) == (5000, 800)


@pytest.mark.docker
@pytest.mark.slow
def test_envoy_takes_every_variant() -> None:
    """Each is a change of today's template: one that changes nothing any more, or too much, is found here."""
    names = {"web": "caller", "api": "called", "rpc": "called"}
    rendered = envoy.render({name: (envoy.SIDECAR, envoy.sidecar_variables(name)) for name in names})
    changed = {}
    for variant in VARIANTS:
        for name, side in names.items():
            change = getattr(variant, side)
            if change:
                content = yaml.safe_load(rendered[name])
                change(content)
                assert content != yaml.safe_load(rendered[name]), variant.name
                changed[f"{variant.name} {side} {name}"] = json.dumps(content)
    verdicts = envoy.validate(changed)
    assert {name: said for name, said in verdicts.items() if said} == {}
    assert len({variant.pods() for variant in [Variant(), *VARIANTS]}) == len(VARIANTS) + 1
