"""Plans in the language of services."""

from __future__ import annotations

from typing import Any

import pytest

from karst.plans import action, changes, lacking, summarize


def _change(address: str, *actions: str, mode: str = "managed") -> dict[str, Any]:
    return {"address": address, "mode": mode, "change": {"actions": list(actions)}}


def _steps(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Without the reasons, which test_plan_reasons.py has."""
    return {name: {k: v for k, v in entry.items() if k != "reasons"} for name, entry in summarize(plan).items()}


def test_a_service_is_replaced_when_its_pod_is() -> None:
    """The pod decides; its other resources are listed as steps."""
    plan = {
        "resource_changes": [
            _change('module.karst_service.docker_container.pod["shop"]', "create", "delete"),
            _change('module.karst_service.docker_image.app["shop"]', "create", "delete"),
            _change('module.karst_service.docker_container.pod["hello"]', "no-op"),
        ]
    }
    assert _steps(plan) == {
        "hello": {"action": "none", "steps": {}},
        "shop": {"action": "replace", "steps": {"pod": "replace", "image": "replace"}},
    }


def test_a_failed_gate_alone_is_an_update_of_one_step() -> None:
    """After a failed deploy only the gate is asked again."""
    plan = {"resource_changes": [_change('module.karst_service.terraform_data.gate["shop"]', "create", "delete")]}
    assert _steps(plan)["shop"] == {"action": "replace", "steps": {"gate": "replace"}}


def test_what_a_failed_deploy_left_behind_does_not_hide_what_happens_now() -> None:
    """Deposed objects are listed beside the replacement, under the same address."""
    address = 'module.karst_service.docker_container.pod["shop"]'
    left = {**_change(address, "delete"), "deposed": "8ce30a5b"}
    plan = {"resource_changes": [_change(address, "create", "delete"), left]}
    assert _steps(plan)["shop"] == {"action": "replace", "steps": {"pod": "replace"}}


def test_shared_resources_belong_to_no_service() -> None:
    """Network, edge and the images that all services share are listed together."""
    plan = {
        "resource_changes": [
            _change("module.karst_mesh.docker_network.mesh", "create"),
            _change("module.karst_mesh.docker_container.edge", "create"),
            _change('module.karst_service.docker_image.infra["sidecar"]', "create"),
            _change("module.karst_service.data.external.fetch", "read", mode="data"),
        ]
    }
    assert _steps(plan) == {
        "": {"action": "create", "steps": {"network": "create", "edge": "create", "sidecar image": "create"}}
    }


@pytest.mark.parametrize(
    ("change", "anything"),
    [
        (_change("module.a.docker_network.mesh", "no-op"), False),
        (_change("module.a.data.external.fetch", "read", mode="data"), False),
        (_change("module.a.docker_network.mesh", "update"), True),
        ({**_change('module.a.docker_container.pod["shop"]', "delete"), "deposed": "8ce30a5b"}, True),
    ],
)
def test_what_an_earlier_deploy_left_is_reason_enough_to_apply(change: dict[str, Any], anything: bool) -> None:
    """No service changes, and yet the old generation of a killed deploy has to go."""
    assert changes({"resource_changes": [change]}) is anything
    assert changes({"output_changes": {"services": {"actions": ["update"]}}})


@pytest.mark.parametrize(
    ("actions", "word"),
    [
        (["create", "delete"], "replace"),
        (["delete", "create"], "replace"),
        (["create"], "create"),
        (["delete"], "destroy"),
        (["update"], "update"),
        (["no-op"], "none"),
        (["read"], "none"),
        ([], "none"),
    ],
)
def test_each_list_of_actions_has_one_word(actions: list[str], word: str) -> None:
    """Terraform lists a replacement as two actions, in either order."""
    assert action(actions) == word


def test_what_a_source_lacks_is_a_sentence_for_each() -> None:
    """From the plan's outputs; a destroy has none."""
    services = {"shop": {"missing": ["the submodule `lib`"]}, "web": {"missing": []}}
    plan = {"planned_values": {"outputs": {"services": {"value": services}}}}
    assert lacking(plan) == ["shop lacks the submodule `lib`"]
    assert lacking({}) == []
