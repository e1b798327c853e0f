"""A Terraform plan in the language of services: what happens to each, and what is left alone."""

from __future__ import annotations

from typing import Any

from karst.plan_reasons import reasons, shared
from karst.replicas import service_of
from karst.terraform import _INSTANCE, step


def summarize(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Per service: ``action`` (create, replace, update, destroy, none), ``steps`` (step → action), ``reasons``.

    Steps that are not touched are left out. The network, the edge and the shared images are under the name "" (no
    service's own). docs/plans.md has the reasons.
    """
    services: dict[str, dict[str, Any]] = {}
    done_to: dict[str, dict[str, set[str]]] = {}
    changed: dict[str, dict[str, Any]] = {}
    for change in plan.get("resource_changes", []):
        found = _INSTANCE.search(change.get("address", ""))
        # What an earlier deploy left to be removed (deposed objects) is no change of the service.
        if not found or change.get("mode") != "managed" or change.get("deposed"):
            continue
        of_all = found["name"] in ("infra", "edge", "mesh", "keeper")
        name = "" if of_all else service_of(found["key"] or "")
        services.setdefault(name, {"action": "none", "steps": {}, "reasons": []})
        done = action(change.get("change", {}).get("actions", []))
        word = step(found["type"], found["name"], found["key"])
        done_to.setdefault(name, {}).setdefault(word, set()).add(done)
        if done != "none":
            reason = change.get("action_reason", "")
            # Of several pods the one that is replaced says why, not one that is added.
            if done == "replace" or word not in changed.get(name, {}):
                changed.setdefault(name, {})[word] = {**change["change"], "reason": reason}
    before, after = _outputs(plan)
    for name, entry in services.items():
        # A step that is not the same for each pod of a service (one more, one fewer) is an update of it.
        kinds = {word: done.pop() if len(done) == 1 else "update" for word, done in done_to[name].items()}
        entry["steps"] = {word: done for word, done in kinds.items() if done != "none"}
        entry["action"] = _overall(entry["steps"])
        steps = changed.get(name, {})
        entry["reasons"] = reasons(before.get(name), after.get(name), steps) if name else shared(steps)
    return dict(sorted(services.items()))


def _outputs(plan: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The output `services` before and after."""
    change = plan.get("output_changes", {}).get("services", {})
    return (change.get("before") or {}), (change.get("after") or {})


def changes(plan: dict[str, Any]) -> bool:
    """Whether applying the plan does anything, be it to remove what an earlier deploy left or to record an output."""
    resources = [c for c in plan.get("resource_changes", []) if c.get("mode") == "managed"]
    found = [c.get("change", {}) for c in resources] + list(plan.get("output_changes", {}).values())
    return any(action(change.get("actions", [])) != "none" for change in found)


def lacking(plan: dict[str, Any]) -> list[str]:
    """What the sources lack of their repositories (submodules, large files), one sentence each."""
    outputs = plan.get("planned_values", {}).get("outputs", {})
    services = outputs.get("services", {}).get("value") or {}
    return [f"{name} lacks {what}" for name, one in sorted(services.items()) for what in one.get("missing") or []]


def build_contexts(plan: dict[str, Any]) -> dict[str, str]:
    """Service → folder that its image is built from, for the images that the plan builds."""
    found = {}
    for change in plan.get("resource_changes", []):
        match = _INSTANCE.search(change.get("address", ""))
        after = change.get("change", {}).get("after") or {}
        if match and (match["type"], match["name"]) == ("docker_image", "app") and after.get("build"):
            found[match["key"]] = after["build"][0]["context"]
    return found


def own_dockerfiles(plan: dict[str, Any]) -> dict[str, str]:
    """Service → Dockerfile, for the images that the plan builds by a Dockerfile of the repository's own."""
    found = {}
    for change in plan.get("resource_changes", []):
        match = _INSTANCE.search(change.get("address", ""))
        after = change.get("change", {}).get("after") or {}
        if match and (match["type"], match["name"]) == ("docker_image", "app") and after.get("build"):
            dockerfile = (after["build"][0].get("label") or {}).get("karst.dockerfile")
            if dockerfile:
                found[match["key"]] = dockerfile
    return found


def retained(plan: dict[str, Any]) -> set[str]:
    """The services whose next image is there already, and is taken as it is."""
    found = set()
    for change in plan.get("resource_changes", []):
        match = _INSTANCE.search(change.get("address", ""))
        after = change.get("change", {}).get("after")
        if match and (match["type"], match["name"]) == ("docker_image", "app") and after and not after.get("build"):
            found.add(match["key"])
    return found


def action(actions: list[str]) -> str:
    """One word for Terraform's list of actions."""
    kinds = set(actions)
    if {"create", "delete"} <= kinds:
        return "replace"
    return next((word for kind, word in _WORDS.items() if kind in kinds), "none")


_WORDS = {"create": "create", "delete": "destroy", "update": "update"}


def _overall(steps: dict[str, str]) -> str:
    if not steps:
        return "none"
    kinds = set(steps.values())
    if set(steps) == {"keys"}:
        return "update"
    return steps.get("pod") or (kinds.pop() if len(kinds) == 1 else "update")
