"""Why a plan changes a service, in words that name no value of an environment."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from karst.plan_reasons import reasons, retold, shared

OLD, NEW = "a" * 40, "b" * 40
RUNNING: dict[str, Any] = {
    "slug": "gh:acme/shop",
    "revision": OLD,
    "image": "karst/shop:111111111111",
    "not_after": "2030-01-08T00:00:00Z",
    "made_of": {
        "source": "s1",
        "dependencies": "d1",
        "command": "c1",
        "apt": "a1",
        "recipe": "r1",
        "base": "python:3.11-slim",
        "builder": "karstkit/builder:1",
        "runner": "karstkit/runner:1",
        "port": "8000",
        "health": "",
        "allow": "every service",
        "expose": "false",
        "memory": "",
        "cpus": "",
        "otel": "true",
        "sidecar": "karstkit/sidecar:1",
        "envoy": "e1",
        "secrets": "k1",
        "identity": "f1",
        "owner": "0:0",
    },
}
REPLACED = {"actions": ["create", "delete"], "before": {"env": []}, "after": {"env": []}}


def _texts(changed: dict[str, Any], made_of: dict[str, str], **steps: Any) -> list[str]:
    after = copy.deepcopy(RUNNING) | changed
    after["made_of"] = {**RUNNING["made_of"], **made_of}
    return [reason["text"] for reason in reasons(RUNNING, after, {"pod": REPLACED, **steps})]


IMAGE = {"image": "karst/shop:222222222222"}


def test_an_own_dockerfile_instead_of_the_kit_is_one_reason_and_its_settings_are_told() -> None:
    own = copy.deepcopy(RUNNING) | IMAGE
    own["made_of"] = {"source": "s1", "dockerfile": "f1", "args": "", "user": "", "writable": ""}
    changes = {"pod": REPLACED}
    assert reasons(RUNNING, own, changes)[0]["text"] == ("image built by the repository's own Dockerfile from now on")
    assert reasons(own, RUNNING, changes)[0]["text"] == "image built by the kit from now on"
    after = copy.deepcopy(own)
    after["made_of"] |= {"user": "101", "writable": "/var/cache/nginx"}
    assert [one["text"] for one in reasons(own, after, changes)] == [
        "user the image's → 101",
        "writable nothing but /tmp and /run → /var/cache/nginx",
    ]
    after = copy.deepcopy(own) | {"image": "karst/shop:3"}
    after["made_of"] |= {"source": "s2", "dockerfile": "f2"}
    assert [one["text"] for one in reasons(own, after, changes)] == ["image rebuilt: source, Dockerfile changed"]


@pytest.mark.parametrize(
    ("changed", "made_of", "texts"),
    [
        (
            {"revision": NEW, **IMAGE},
            {"source": "s2"},
            [f"commit {OLD[:12]} → {NEW[:12]}", "image rebuilt: source changed"],
        ),
        ({"revision": "dir-2"}, {}, [f"folder {OLD[:12]} → dir-2"]),
        ({"slug": "gl:acme/shop"}, {}, ["slug gh:acme/shop → gl:acme/shop"]),
        (IMAGE, {"dependencies": "d2", "recipe": "r2"}, ["image rebuilt: dependencies changed"]),
        (IMAGE, {"command": "c2", "apt": "a2"}, ["image rebuilt: entry point or args, Debian packages changed"]),
        (IMAGE, {"recipe": "r2"}, ["image rebuilt: the kit's Dockerfile template changed"]),
        (IMAGE, {"runner": "r:2"}, ["image rebuilt: the kit's runner changed"]),
        (
            IMAGE,
            {"base": "python:3.12-slim", "builder": "b:2", "runner": "r:2", "sidecar": "s:2"},
            ["image rebuilt: base image changed"],
        ),
        ({}, {"port": "9000", "memory": "512m"}, ["port 8000 → 9000", "memory no limit → 512m"]),
        ({}, {"port": ""}, ["port 8000 → found out"]),
        ({}, {"allow": "web", "envoy": "e2"}, ["allow every service → web"]),
        ({}, {"envoy": "e2"}, ["Envoy configuration changed"]),
        ({}, {"secrets": "k2"}, ["secrets changed"]),
        ({}, {"sidecar": "s:2"}, ["the kit's sidecar image changed"]),
        ({}, {"owner": "1000:1000"}, ["owner 0:0 → 1000:1000"]),
    ],
)
def test_each_part_of_a_generation_has_its_words(
    changed: dict[str, Any], made_of: dict[str, str], texts: list[str]
) -> None:
    """And what only follows from another part is not told as well."""
    assert _texts(changed, made_of) == texts


def test_an_image_that_is_there_is_not_called_rebuilt_and_a_way_back_is_called_one() -> None:
    """A service held or rolled back to an image of then: Terraform plans it without a build."""
    after = {**RUNNING, "revision": NEW, **IMAGE}
    image = {"actions": ["create", "delete"], "before": {"build": []}, "after": {"build": []}}
    found = reasons(RUNNING, after, {"pod": REPLACED, "image": image})
    told = retold(found, "rollback", NEW, f"rolled back to {NEW[:12]}")
    assert [one["text"] for one in told] == [f"rolled back to {NEW[:12]}", "image of then, not built again"]
    assert (told[0]["what"], told[0]["before"], told[0]["after"]) == ("rollback", OLD, NEW)
    (alone,) = retold([], "held", OLD, f"held at {OLD[:12]}")
    assert (alone["what"], alone["after"]) == ("held", OLD)


def test_a_renewed_identity_is_told_without_any_step() -> None:
    """It rotates in place: the pods stay as they are."""
    after = {**RUNNING, "made_of": {**RUNNING["made_of"], "identity": "f2"}}
    (reason,) = reasons(RUNNING, after, {})
    assert reason["text"] == "identity renewed (valid until 2030-01-08T00:00:00Z)"


def test_of_the_environment_only_the_names_are_told() -> None:
    """Added, removed, changed; the kit's own variables that follow from a commit or a port are left out."""
    before = ["GONE=hush-1", "SAME=x", "TURNED=hush-2", "PORT=8000", f"KARST_REVISION={OLD}"]
    after = ["SAME=x", "TURNED=hush-3", "ADDED=hush-4", "PORT=9000", f"KARST_REVISION={NEW}"]
    app = {"actions": ["create", "delete"], "before": {"env": before}, "after": {"env": after}}
    told = _texts({"revision": NEW}, {"port": "9000"}, app=app)
    assert told[-1] == "env: +ADDED, -GONE, ~TURNED"
    assert "hush" not in str(told)


def test_new_and_removed_services() -> None:
    (new,) = reasons(None, RUNNING, {})
    (gone,) = reasons(RUNNING, None, {})
    assert (new["what"], new["text"]) == ("new", f"gh:acme/shop at {OLD[:12]}")
    assert (gone["what"], gone["text"]) == ("removed", "no longer in the list")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ({"pod": {"actions": ["create"], "before": None, "after": {}}}, "its pod container is gone"),
        (
            {"pod": {**REPLACED, "reason": "replace_because_tainted"}},
            "the last deploy did not finish its pod container",
        ),
        (
            {"app": {"actions": ["update"], "before": {"memory": 64}, "after": {"memory": 128}}},
            "changed on the host: app memory",
        ),
        ({"gate": {"actions": ["create"]}}, "the last deploy did not get it through its gate"),
    ],
)
def test_what_happened_on_the_host_is_the_reason_when_the_list_gives_none(steps: dict[str, Any], text: str) -> None:
    """Removed by hand, cut off, changed by hand, or refused by its gate."""
    assert [reason["text"] for reason in reasons(RUNNING, RUNNING, steps)] == [text]


def test_the_edge_and_the_network_say_what_of_them_changes() -> None:
    """Ports, configuration, a new name."""
    edge = {
        "actions": ["delete", "create"],
        "before": {"ports": [1], "env": ["a"], "id": "x"},
        "after": {"ports": [2], "env": ["b"]},
        "after_unknown": {"id": True},
    }
    image = {"actions": ["create"], "before": {"name": "karstkit/edge:1"}, "after": {"name": "karstkit/edge:2"}}
    network = {"actions": ["create"], "before": None, "after": {"name": "iacnet"}}
    told = [reason["text"] for reason in shared({"edge": edge, "edge image": image, "network": network})]
    assert told == [
        "edge: configuration, ports",
        "edge image karstkit/edge:1 → karstkit/edge:2",
        "network is new, or gone from the host",
    ]
