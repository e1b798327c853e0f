"""How a roll-out of a Swarm service goes, as its managers tell it; why it failed, from the task that did.

Swarm replaces one task after the other, new before old, and goes back to the version before when one fails. So the
gate is its update, and this waits for it. Which version a service has is told by its label `karst.rollout`: after a
roll-back it is the one before.
"""

from __future__ import annotations

import re
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karst.containers import REVISION, SERVICE, STACK
from karst.errors import KarstError, UnhealthyError

ROLLOUT = "karst.rollout"
POLL_SECONDS = 0.5
#: On top of what each task may take: pulling the image, and the time that an update is watched after its last task.
PULL_SECONDS = 120.0
TASK_SECONDS = 30.0
BACK_SECONDS = 90.0
END_SECONDS = 90.0
LOG_LINES = 15
#: A node that has no room or no image refuses a task; another one may take it.
REFUSALS = 3
_FAILED, _REFUSED = ("failed", "complete"), "rejected"  # a service's task that completes has ended by itself
_ENDED = (*_FAILED, _REFUSED, "shutdown", "remove", "orphaned")
_RUNNER = re.compile(r"karst: (FAILED|NOT_SERVING|STARTING): (.*)")

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """What the managers say of a service at one moment."""

    service: Mapping[str, Any]
    tasks: Sequence[Task]

    @property
    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.service["Spec"]
        return found

    @property
    def update(self) -> str:
        """The state of its update: updating, completed, paused, rollback_…; "" before the first."""
        return str((self.service.get("UpdateStatus") or {}).get("State") or "")

    @property
    def replicas(self) -> int:
        return int(self.spec["Mode"]["Replicated"]["Replicas"])

    @property
    def complete(self) -> bool:
        """Whether every task is of the service's version and runs, which takes a passed health check."""
        wanted = self.spec["TaskTemplate"]["ContainerSpec"]
        meant = [task for task in self.tasks if task["DesiredState"] == "running"]
        running = [t for t in meant if t["Spec"]["ContainerSpec"] == wanted and t["Status"]["State"] == "running"]
        return len(running) == len(meant) == self.replicas and self.update not in ("updating", "rollback_started")

    def ended(self, *states: str) -> set[str]:
        """Ids of the tasks that ended like this."""
        return {task["ID"] for task in self.tasks if task["Status"]["State"] in states}


def wait(docker: Any, stack: str, service: str, rollout: str, gate_timeout: float) -> None:
    """Until every task is of ``rollout`` and healthy; UnhealthyError with the reason when that does not come."""
    look = _look(docker, stack, service)
    known = look.ended(*_FAILED, _REFUSED)  # of earlier roll-outs
    deadline = time.monotonic() + look.replicas * (gate_timeout + TASK_SECONDS) + PULL_SECONDS
    while True:
        if look.spec["Labels"].get(ROLLOUT) != rollout:
            _await_back(docker, stack, service)
            raise _refused(docker, service, look, known, "the Swarm went back to the version before, which serves")
        if look.complete:
            break
        if look.update in ("paused", "rollback_paused"):
            raise _refused(docker, service, look, known, f"its update is {look.update}")
        # With an update, the Swarm decides.
        if not look.update and (look.ended(*_FAILED) - known or len(look.ended(_REFUSED) - known) >= REFUSALS):
            raise _refused(docker, service, look, known, "no version before it is there to go back to")
        if time.monotonic() >= deadline:
            raise _refused(docker, service, look, known, "it took too long")
        time.sleep(POLL_SECONDS)
        look = _look(docker, stack, service)
    revision = look.spec["Labels"].get(REVISION, "")[:12]
    nodes = sorted({_node(docker, task) for task in look.tasks if task["DesiredState"] == "running"})
    print(f"{service}: {look.replicas} tasks at {revision} on {', '.join(nodes)}", file=sys.stderr)


def await_end(docker: Any, stack: str, service: str) -> None:
    """Where the service is gone: wait until its tasks are too, because its network cannot go before them."""
    if any(row["Spec"]["Name"] == name_of(stack, service) for row in docker.api.services()):
        return
    end = time.monotonic() + END_SECONDS
    while time.monotonic() < end:
        down = {node["ID"] for node in docker.api.nodes() if node["Status"]["State"] == "down"}
        labels = {STACK: stack, SERVICE: service}
        left = [
            task
            for task in docker.api.tasks()
            if labels.items() <= ((task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}).items()
            and task["Status"]["State"] not in _ENDED
            and task.get("NodeID") not in down
        ]
        if not left:
            return
        time.sleep(POLL_SECONDS)


def name_of(stack: str, service: str) -> str:
    """What modules/karst_service/tasks.tf calls the Swarm's service."""
    return f"{stack}_{service}"


def _look(docker: Any, stack: str, service: str) -> Look:
    name = name_of(stack, service)
    return Look(docker.api.inspect_service(name), docker.api.tasks(filters={"service": name}))


def _await_back(docker: Any, stack: str, service: str) -> None:
    end = time.monotonic() + BACK_SECONDS
    while _look(docker, stack, service).update == "rollback_started" and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def _refused(docker: Any, service: str, look: Look, known: set[str], outcome: str) -> KarstError:
    from karst.crash_errors import explain_crash

    task = culprit(look, known)
    lines = _last_words(docker, task) if task else []
    crash = explain_crash("\n".join(lines), own_image=False)
    shown = [f"last {len(lines)} lines of {service}:", *(f"  | {line}" for line in lines)] if lines else []
    what = f"{service} is not healthy: {reason(task, lines, _node(docker, task) if task else '')}"
    return UnhealthyError(
        "\n".join([what, *([crash.message] if crash else []), *shown]),
        hint=(f"{crash.hint}; " if crash and crash.hint else "") + outcome,
        code="unhealthy",
    )


def culprit(look: Look, known: set[str]) -> Task | None:
    """The newest task that failed and was not known to have; else the newest that does not run."""
    new = [task for task in look.tasks if task["ID"] not in known]
    ended = [task for task in new if task["Status"]["State"] in (*_FAILED, _REFUSED)]
    stuck = [task for task in new if task["DesiredState"] == "running" and task["Status"]["State"] != "running"]
    return max(ended or stuck, key=lambda task: str(task["CreatedAt"]), default=None)


def reason(task: Task | None, lines: Sequence[str], node: str) -> str:
    """One sentence: what the runner said last, and what the Swarm says of the task."""
    if task is None:
        return "no task of it was found that says why"
    status = task["Status"]
    swarm = status.get("Err") or f"{status['State']} ({status.get('Message') or 'no reason given'})"
    said = [match for line in lines if (match := _RUNNER.search(line))]
    words = f"{said[-1][1]}, {said[-1][2]}; " if said else ""
    return f"{words}the Swarm says of its task{f' on {node}' if node else ''}: {swarm}"


def _node(docker: Any, task: Task) -> str:
    if not task.get("NodeID"):
        return ""
    return str(docker.api.inspect_node(task["NodeID"])["Description"]["Hostname"])


def _last_words(docker: Any, task: Task) -> list[str]:
    """The task's last lines; none when its node does not answer."""
    import docker.errors as errors
    from requests.exceptions import RequestException

    api = docker.api
    options = {"stdout": 1, "stderr": 1, "tail": LOG_LINES}
    try:
        answer = api._get(api._url("/tasks/{0}/logs", task["ID"]), params=options)
        api._raise_for_status(answer)
        return unframed(answer.content).decode("utf-8", "replace").splitlines()[-LOG_LINES:]
    except (errors.APIError, RequestException):
        return []


def unframed(stream: bytes) -> bytes:
    """Docker's frames of stdout and stderr (eight bytes before each piece), put together."""
    pieces = []
    while len(stream) >= 8:
        (size,) = struct.unpack(">I", stream[4:8])
        pieces.append(stream[8 : 8 + size])
        stream = stream[8 + size :]
    return b"".join(pieces)
