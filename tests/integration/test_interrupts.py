"""Runs that are interrupted or killed in the middle of an apply: what they leave, and that one deploy puts it right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kit import IAC, Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("stack")]

# Serves after SLEEP seconds: in between its gate waits, and the apply is in the middle.
SLOW_START = """
import os, time
from http.server import BaseHTTPRequestHandler, HTTPServer


def main():
    time.sleep(float(os.environ.get("SLEEP", "0")))
    HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), BaseHTTPRequestHandler).serve_forever()


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def slow_kit(tmp_path: Path) -> Iterator[Kit]:
    """A stack of one service, deployed; destroyed at the end, which leaves nothing."""
    kit = Kit(tmp_path / "kit")
    (kit.home / "web").mkdir()
    (kit.home / "web" / "main.py").write_text(SLOW_START)
    _entry(kit, "0")
    kit.deploy()
    try:
        yield kit
    finally:
        kit.destroy()
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}


def _entry(kit: Kit, sleep: str) -> None:
    kit.write_list([{"slug": "dir:web", "port": 8000, "env": {"SLEEP": sleep}}])


def _start(kit: Kit) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(IAC), "deploy", "--file", str(kit.list_file), "--events"],
        cwd=kit.home,
        env={**os.environ, **kit.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until(process: subprocess.Popen[str], step: str, state: str) -> list[dict[str, Any]]:
    """Read events up to that of the step."""
    seen = []
    for line in process.stdout or ():
        seen.append(json.loads(line))
        if (seen[-1].get("step"), seen[-1].get("state")) == (step, state):
            return seen
    raise AssertionError(f"no {step} {state} in {seen}")


def _terraform_pid(kit: Kit) -> int:
    return int((kit.home / "state" / kit.stack / "terraform.pid").read_text())


def _converged(kit: Kit) -> None:
    """Healthy, exactly one generation, nothing that the state does not know, nothing left to do."""
    assert kit.health()["web"]["status"] == "SERVING"
    ids = {row["Id"] for row in kit.containers()}
    state = json.loads(kit.state_file.read_text())
    known = {
        instance["attributes"]["id"]
        for resource in state["resources"]
        if resource["type"] == "docker_container"
        for instance in resource["instances"]
    }
    assert ids == known
    assert len(ids) == 4
    kit.iac("plan", "--file", str(kit.list_file), "--detailed-exitcode")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_state_and_frees_the_stack(number: signal.Signals, slow_kit: Kit) -> None:
    """Exit 130, the event stream ends with `result`, and the next deploy goes on from there."""
    serial = json.loads(slow_kit.state_file.read_text())["serial"]
    _entry(slow_kit, "25")
    process = _start(slow_kit)
    _until(process, "gate", "start")
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one changes nothing
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["outcome"] == "interrupted"
    assert json.loads(slow_kit.state_file.read_text())["serial"] > serial
    assert not (slow_kit.home / "state" / slow_kit.stack / "lock.json").exists()
    _entry(slow_kit, "0.1")
    slow_kit.deploy()
    _converged(slow_kit)


def test_a_killed_iac_leaves_a_terraform_that_still_holds_the_stack(slow_kit: Kit) -> None:
    """kill -9 of `iac`: exit 3 and a sentence for a second one; --lock-wait goes on when Terraform has ended."""
    _entry(slow_kit, "12")
    process = _start(slow_kit)
    _until(process, "gate", "start")
    process.kill()
    process.wait()
    refused = slow_kit.iac("deploy", "--file", str(slow_kit.list_file), check=3)
    assert "Terraform (apply) by" in refused.stderr
    assert "the `iac deploy` that started it is gone" in refused.stderr
    slow_kit.iac("deploy", "--file", str(slow_kit.list_file), "--lock-wait", "120")
    _converged(slow_kit)


@pytest.mark.parametrize(
    ("step", "state"), [("pod", "start"), ("app", "start"), ("sidecar", "start"), ("gate", "start")]
)
def test_one_deploy_converges_after_terraform_was_killed(step: str, state: str, slow_kit: Kit) -> None:
    """kill -9 of Terraform and of all it started: what it created and never recorded goes, drained."""
    _entry(slow_kit, "6")
    process = _start(slow_kit)
    _until(process, step, state)
    os.killpg(_terraform_pid(slow_kit), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (1, 5), err
    slow_kit.deploy()
    _converged(slow_kit)


def test_one_deploy_converges_after_terraform_was_killed_in_the_first_apply(tmp_path: Path) -> None:
    """The edge and the network have fixed names: what the killed one made of them must not be in the way."""
    kit = Kit(tmp_path / "kit")
    (kit.home / "web").mkdir()
    (kit.home / "web" / "main.py").write_text(SLOW_START)
    _entry(kit, "0")
    try:
        for step in ("network", "edge"):
            process = _start(kit)
            _until(process, step, "start")
            os.killpg(_terraform_pid(kit), signal.SIGKILL)
            process.communicate(timeout=120)
        kit.deploy()
        _converged(kit)
    finally:
        kit.destroy()
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}


@pytest.mark.parametrize("role", ["pod", "app", "sidecar", "edge"])
def test_one_deploy_replaces_what_somebody_removed(role: str, slow_kit: Kit) -> None:
    """`docker rm -f` behind Terraform's back."""
    victim = next(c["Id"] for c in slow_kit.containers() if c["Config"]["Labels"]["karst.role"] == role)
    docker("rm", "-f", victim)
    slow_kit.deploy()
    _converged(slow_kit)


def test_a_pod_in_no_state_is_drained_and_removed_and_the_recorded_one_is_not_touched(slow_kit: Kit) -> None:
    """A copy of the running generation under the same alias, as a killed Terraform leaves it."""
    before = slow_kit.pods()
    rows = {row["Config"]["Labels"]["karst.role"]: row for row in slow_kit.containers("web")}
    network = f"iacnet-{slow_kit.stack}"
    pod = docker(
        "run", "-d", *_labels(rows["pod"]), "--network", network, "--network-alias", "web", *_sleep(rows["pod"])
    )
    docker("run", "-d", *_labels(rows["app"]), "--network", f"container:{pod}", *_sleep(rows["pod"]))
    slow_kit.deploy()
    assert slow_kit.pods() == before
    _converged(slow_kit)


def test_a_crash_loop_a_retry_and_a_revert_each_converge_in_one_deploy(slow_kit: Kit) -> None:
    main = slow_kit.home / "web" / "main.py"
    good = main.read_text()
    main.write_text("def main():\n    raise SystemExit(3)\n\n\nif __name__ == '__main__':\n    main()\n")
    slow_kit.env["KARST_GATE_TIMEOUT"] = "20"
    slow_kit.deploy(check=5)
    slow_kit.deploy(check=5)
    main.write_text(good)
    slow_kit.deploy()
    _converged(slow_kit)


def test_a_destroy_without_a_state_removes_by_label_and_says_so(slow_kit: Kit) -> None:
    """Somebody deleted the state; the containers still run."""
    slow_kit.state_file.unlink()
    told = slow_kit.iac("destroy", "--yes").stderr
    assert "there is no state of it; removed 4 containers by their label" in told
    assert slow_kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}


def _labels(row: dict[str, Any]) -> list[str]:
    return [word for key, value in row["Config"]["Labels"].items() for word in ("--label", f"{key}={value}")]


def _sleep(row: dict[str, Any]) -> list[str]:
    return ["--entrypoint", "/bin/sleep", row["Image"], "600"]
