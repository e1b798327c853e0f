"""What has run out is told by one sentence, whatever the engine calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst import exhausted
from karst.events import Events
from karst.stack import Stack
from karst.terraform import Outcome, Terraform

TABLE = "entries  allocs table_fulls\n00000017 00000ac6 {}\n00000017 00000adc {}\n"
BRIDGE = (
    "Unable to start container: Error response from daemon: failed to create endpoint web-pod-1 on network iacnet: "
    "adding interface veth1 to bridge br-1 failed: exchange full"
)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (BRIDGE, "a Linux bridge takes 1,023 ports"),
        ("no available IPv4 addresses on this network's address pools: iacnet (1f)", "no address left"),
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            "no range of addresses left",
        ),
        ("fork/exec /usr/bin/containerd-shim-runc-v2: resource temporarily unavailable", "no more processes"),
        ("runc create failed: can't get final child's PID from pipe: EOF: unknown", "no more processes"),
        ("RuntimeError: can't start new thread", "no more processes"),
    ],
)
def test_the_engines_words_become_a_sentence(words: str, sentence: str) -> None:
    found = exhausted.told(words)
    assert found
    assert sentence in found.message
    assert found.hint


def test_other_words_say_nothing_of_it() -> None:
    assert exhausted.told("ModuleNotFoundError: No module named 'fastapi'") is None


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc that tells nothing yet."""
    monkeypatch.setattr(exhausted, "PROC", tmp_path)
    (tmp_path / "net/stat").mkdir(parents=True)
    return tmp_path


def test_a_full_neighbour_table_is_seen_by_its_count(proc: Path) -> None:
    (proc / "net/stat/arp_cache").write_text(TABLE.format("00000001", "00000010"))
    before = exhausted.counts()
    assert before.overflows == 17
    assert exhausted.since(before) is None
    (proc / "net/stat/arp_cache").write_text(TABLE.format("00000001", "00000011"))
    found = exhausted.since(before)
    assert found
    assert "gc_thresh3" in found.hint


def test_processes_that_were_ended_for_want_of_memory_are_counted(proc: Path) -> None:
    (proc / "vmstat").write_text("pgfault 7\noom_kill 2\n")
    before = exhausted.counts()
    (proc / "vmstat").write_text("pgfault 9\noom_kill 5\n")
    found = exhausted.since(before)
    assert found
    assert "ended 3 processes" in found.message


def test_a_host_that_does_not_show_its_counts_says_nothing(proc: Path) -> None:
    assert exhausted.since(exhausted.counts()) is None


def test_a_network_that_is_full_is_told_once_for_all_pods(tmp_path: Path) -> None:
    """The engine's words name a pod each; the first stay, the others would only repeat it."""
    told: list[dict[str, object]] = []
    terraform = Terraform(_stack(tmp_path), Events(told.append))
    outcome = Outcome(1)
    for pod in ("web", "api"):
        address = f'module.karst_service.docker_container.pod["{pod}"]'
        terraform._diagnostic({"severity": "error", "summary": BRIDGE.replace("web", pod), "address": address}, outcome)
    assert len(outcome.errors) == 1
    assert outcome.errors[0].startswith("the stack's network is full")
    assert "exchange full" in outcome.errors[0]
    assert "two stacks" in str(told[0]["hint"])


def test_an_apps_own_lines_are_not_taken_for_the_engines(tmp_path: Path) -> None:
    terraform = Terraform(_stack(tmp_path), Events())
    outcome = Outcome(1)
    words = "web is not healthy: FAILED, exit code 1\n  | OSError: Resource temporarily unavailable"
    gate = 'module.karst_service.terraform_data.gate["web"]'
    terraform._diagnostic({"severity": "error", "summary": words, "address": gate}, outcome)
    assert outcome.errors == [words]


def _stack(home: Path) -> Stack:
    return Stack("s", home / "l", "n", {}, home / "secrets", home, home / "data", home / "state")
