"""A large stack is removed kind by kind, in the order in which Terraform would have put it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from karst import removal
from karst.events import Events
from karst.stack import Stack
from karst.terraform import Outcome, Terraform

KINDS = {  # kind → what it came from
    "docker_image.app": ["docker_image.infra"],
    "docker_container.pod": ["docker_image.app", "docker_image.infra", "docker_network.mesh"],
    "docker_container.app": ["docker_container.pod", "docker_image.app"],
    "docker_container.sidecar": ["docker_container.app", "docker_container.pod"],
    "terraform_data.gate": ["docker_container.sidecar", "docker_container.pod"],
}


def _state(count: int) -> str:
    """A state with ``count`` services, beside an image, a network, and something that was read."""

    def resource(kind: str, number: int, origins: list[str]) -> dict[str, Any]:
        kind_type, name = kind.split(".")
        instances = [{"dependencies": [f"module.service.{origin}" for origin in origins]} for _ in range(number)]
        return {"module": "module.service", "mode": "managed", "type": kind_type, "name": name, "instances": instances}

    read = {"module": "module.service", "mode": "data", "type": "external", "name": "fetch", "instances": [{}]}
    made = [resource(kind, count, origins) for kind, origins in KINDS.items()]
    shared = [resource("docker_image.infra", 1, []), resource("docker_network.mesh", 1, [])]
    return json.dumps({"resources": [read, *shared, *made]})


def test_a_stack_of_ordinary_size_is_removed_at_once() -> None:
    assert removal.parts(_state(50)) == []
    assert removal.parts(json.dumps({"resources": []})) == []


def test_a_large_one_goes_kind_by_kind_and_what_came_last_goes_first() -> None:
    found = removal.parts(_state(150))
    assert [[address.removeprefix("module.service.") for address in part] for part in found] == [
        ["terraform_data.gate"],
        ["docker_container.sidecar"],
        ["docker_container.app"],
    ]


def test_no_kind_goes_before_what_came_from_it() -> None:
    gone: set[str] = set()
    for part in removal.parts(_state(1000)):
        gone |= {address.removeprefix("module.service.") for address in part}
        for kind, origins in KINDS.items():
            assert kind in gone or not gone & set(origins), f"{kind} is still there"


def test_kinds_that_came_from_each_other_are_left_to_terraform(monkeypatch: pytest.MonkeyPatch) -> None:
    """No state that Terraform writes has that; it must not be waited for ever."""
    monkeypatch.setattr(removal, "LARGE", 1)
    ring = [
        {"mode": "managed", "type": "a", "name": name, "instances": [{"dependencies": [f"a.{other}"]}]}
        for name, other in (("x", "y"), ("y", "x"))
    ]
    assert removal.parts(json.dumps({"resources": ring})) == []


def test_terraforms_warnings_of_a_part_are_not_passed_on(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    terraform = Terraform(_stack(tmp_path), Events(told.append))
    for summary in ("Resource targeting is in effect", "Applied changes may be incomplete", "Something else"):
        terraform._diagnostic({"severity": "warning", "summary": summary}, Outcome(0))
    assert [event["message"] for event in told] == ["Something else"]


ROOT = """
terraform {
  backend "local" {}
}

locals {
  names = toset(["a", "b", "c"])
  pods  = { for name, one in terraform_data.pod : name => one.id }
}

resource "terraform_data" "pod" {
  for_each = local.names
}

resource "terraform_data" "gate" {
  for_each         = local.names
  triggers_replace = local.pods[each.key]
}

output "pods" {
  value = local.pods
}

output "gates" {
  value = { for name in local.names : name => terraform_data.gate[name].id }
}
"""


def test_terraform_removes_a_stack_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real Terraform, with outputs of what goes first; each part is one kind, and nothing is left."""
    monkeypatch.setattr(removal, "LARGE", 3)
    monkeypatch.setattr(Stack, "root_module", tmp_path)
    (tmp_path / "main.tf").write_text(ROOT)
    told: list[dict[str, Any]] = []
    stack = _stack(tmp_path)
    stack.variables_file.write_text("{}")
    terraform = Terraform(stack, Events(told.append))
    terraform.init()
    assert terraform.plan().exit_code == 2
    assert terraform.apply().ok
    told.clear()
    assert removal.remove(terraform, stack.state_file.read_text()).ok
    assert json.loads(stack.state_file.read_text())["resources"] == []
    gone = [event["step"] for event in told if event["type"] == "service" and event["state"] == "done"]
    assert gone == ["gate"] * 3 + ["pod"] * 3
    assert [event for event in told if event["type"] == "diagnostic"] == []


def _stack(home: Path) -> Stack:
    return Stack("s", home / "l", "n", {}, home / "secrets", home, home / "data", home / "state")
