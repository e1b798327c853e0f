"""Why an app ended, in words."""

from __future__ import annotations

import os
import sys

import pytest
from karst_runner.reasons import exit_code, explain

CLICK = ["Usage: tool [OPTIONS] INPUT", "Try 'tool --help' for help.", "", "Error: Missing argument 'INPUT'."]
HELP = "ended after printing its usage (Usage: tool COMMAND): if it needs arguments, set `args:`"
ARGPARSE = ["usage: tool [-h] input", "tool: error: the following arguments are required: input"]


@pytest.mark.parametrize(
    ("code", "output", "reason", "permanent"),
    [
        (0, ["fine"], "", True),
        (0, ["Usage: tool COMMAND"], HELP, True),
        (1, ["Traceback", "ValueError: x", ""], "exited with code 1: ValueError: x", False),
        (1, [], "exited with code 1", False),
        (2, ARGPARSE, f"needs arguments: set `args:` ({ARGPARSE[1]})", True),
        (2, CLICK, "needs arguments: set `args:` (Error: Missing argument 'INPUT'.)", True),
        (2, ["usage: tool COMMAND"], "needs arguments: set `args:` (usage: tool COMMAND)", True),
        (2, ["can't open file"], "exited with code 2: can't open file", False),
        (137, ["x"], "was ended by SIGKILL: x", False),
        (128 + 64, [], "was ended by SIGRTMAX", False),
    ],
)
def test_an_ending_is_explained(code: int, output: list[str], reason: str, permanent: bool) -> None:
    ending = explain(code, output)
    assert (ending.code, ending.reason, ending.permanent) == (code, reason, permanent)


def test_the_kernels_kill_for_memory_is_told_from_any_other() -> None:
    assert explain(137, [], out_of_memory=True).reason == "was killed because it used more memory than `memory:` allows"
    assert "SIGTERM" in explain(143, [], out_of_memory=True).reason


def test_a_port_that_belongs_to_the_kit_is_pointed_out() -> None:
    line = "RuntimeError: Failed to bind to address [::]:50051"
    assert explain(1, [line], kit_ports={50051}).reason.endswith("; port 50051 is the kit's: let it listen on PORT")
    assert explain(1, [line + "0"], kit_ports={50051}).reason.endswith("500510")


def test_a_very_long_last_line_is_cut() -> None:
    assert len(explain(1, ["x" * 5000]).reason) < 350


@pytest.mark.parametrize(("program", "code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_wait_statuses_become_a_shells_exit_codes(program: str, code: int) -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)
    assert exit_code(os.waitpid(pid, 0)[1]) == code
