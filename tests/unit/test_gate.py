"""When the gate gives up an app that the engine starts again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karst.gate import Gate, Pod, crashing
from karst.probe import Health

POD = Pod("p1", "web-pod-1", ("127.0.0.1", 1))
GATE = Gate("web", "s", (POD,), Path("/s"), "karst.local", 60, own_image=True)
STARTING = Health("web", "STARTING", reason="does not listen on a port yet")


class Docker:
    """An engine with one pod and its app; ``details`` is what inspecting the app says."""

    def __init__(self, details: dict[str, Any]) -> None:
        self.api, self._details = self, details

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        row = {"Names": ["/x"], "State": "running", "Created": 1}
        labels = {"karst.service": "web", "karst.stack": "s"}
        return [
            {**row, "Id": "p1", "Labels": {**labels, "karst.role": "pod"}},
            {
                **row,
                "Id": "a1",
                "Labels": {**labels, "karst.role": "app"},
                "HostConfig": {"NetworkMode": "container:p1"},
            },
            {
                **row,
                "Id": "a0",
                "Labels": {**labels, "karst.role": "app"},
                "HostConfig": {"NetworkMode": "container:p0"},
            },
        ]

    def inspect_container(self, identifier: str) -> dict[str, Any]:
        assert identifier == "a1", "an older generation is none of this gate's concern"
        return self._details


def test_a_few_restarts_are_no_verdict() -> None:
    """A database that comes up a moment later is met by the second start."""
    assert crashing(GATE, POD, Docker({"RestartCount": 2, "State": {"ExitCode": 1}}), STARTING) is STARTING


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        ({"ExitCode": 3}, "exited with code 3 (started again 3 times)", 3),
        (
            {"ExitCode": 0},
            "exited with code 0 (started again 3 times); an app with `dockerfile:` has to be a server, which goes on"
            " and listens",
            0,
        ),
        ({"ExitCode": 137, "OOMKilled": True}, "killed for want of memory (started again 3 times)", 137),
    ],
)
def test_an_app_that_keeps_ending_has_failed_with_the_engines_word_for_it(
    state: dict[str, Any], reason: str, code: int
) -> None:
    found = crashing(GATE, POD, Docker({"RestartCount": 3, "State": state}), STARTING)
    assert (found.status, found.reason, found.exit_code) == ("FAILED", reason, code)
