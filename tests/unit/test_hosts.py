"""The list of hosts, and the Terraform that follows from it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import hcl2
import pytest
import yaml

from karst import hosts, hosts_cli
from karst.containers import Member
from karst.errors import KarstError, UsageError
from karst.hosts import Host

THREE = [{"name": name, "docker_host": f"ssh://deploy@{name}.example"} for name in "abc"]


def load(folder: Path, entries: Any) -> list[Host]:
    path = folder / "hosts.yaml"
    path.write_text(yaml.safe_dump(entries))
    return hosts.load(path)


def test_a_host_has_a_name_and_an_engine(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / "tls" / name).touch()
    listed = [*THREE, {"name": "d", "docker_host": "tcp://10.0.0.4:2376", "cert_path": "tls", "drain": True}]
    assert load(tmp_path, listed)[3] == Host("d", "tcp://10.0.0.4:2376", str(tmp_path / "tls"), drain=True)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("a", "a host is a mapping, not text"),
        ({"name": "a", "docker_host": "ssh://a", "dwon": True}, "unknown key `dwon`"),
        ({"docker_host": "ssh://a"}, "is no name of a host"),
        ({"name": "A_1", "docker_host": "ssh://a"}, "is no name of a host"),
        ({"name": 3, "docker_host": "ssh://a"}, "is no name of a host"),
        ({"name": "a"}, "is no address of an engine"),
        ({"name": "a", "docker_host": "http://a:2375"}, "is no address of an engine"),
        ({"name": "a", "docker_host": "unix://run/docker.sock"}, "is no address of an engine"),
        ({"name": "a", "docker_host": "tcp://a:2376"}, "without TLS anybody"),
        ({"name": "a", "docker_host": "tcp://a:2376", "cert_path": "nowhere"}, "there is no ca.pem"),
        ({"name": "a", "docker_host": "ssh://a", "down": "yes"}, "`down`: wanted true or false"),
        ({"name": "a", "docker_host": "ssh://a", "down": 1}, "`down`: wanted true or false"),
        ({"name": "a", "docker_host": "ssh://a", "down": True, "drain": True}, "exclude each other"),
    ],
)
def test_a_wrong_host_is_one_sentence_with_its_place(tmp_path: Path, entry: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, [entry])
    assert words in caught.value.message
    assert "entry 1 of hosts.yaml" in caught.value.message


@pytest.mark.parametrize("entries", [None, {}, [], "a"])
def test_a_list_without_hosts_is_refused(tmp_path: Path, entries: Any) -> None:
    with pytest.raises(UsageError, match="no list of hosts"):
        load(tmp_path, entries)


def test_two_of_one_name_and_none_that_serves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two hosts named `a`"):
        load(tmp_path, [THREE[0], THREE[0]])
    with pytest.raises(UsageError, match=r"no host of hosts\.yaml is left"):
        load(tmp_path, [{**host, "down": True} for host in THREE])


def made(*listed: dict[str, Any], folder: Path) -> dict[str, Any]:
    return hosts.terraform(load(folder, list(listed)), "shop", "../../modules")


def test_each_host_has_a_provider_an_edge_and_its_pods(tmp_path: Path) -> None:
    found = made(*THREE, folder=tmp_path)
    assert [one["alias"] for one in found["provider"]["docker"]] == ["a", "b", "c"]
    assert set(found["module"]) == {f"{part}_{name}" for part in ("edge", "pods") for name in "abc"}
    pods = found["module"]["pods_b"]
    assert pods["providers"] == {"docker": "docker.b"}
    assert pods["docker_host"] == "ssh://deploy@b.example", "the gate asks the engine that the provider was given"
    assert pods["placement"] == {"host": "b", "hosts": ["a", "b", "c"]}
    assert found["resource"]["docker_network"]["mesh"]["provider"] == "docker.a"
    assert found["resource"]["docker_network"]["mesh"]["labels"] == [{"label": "karst.stack", "value": "shop"}]
    assert "removed" not in found


def test_every_setting_of_one_host_is_one_of_several_and_reaches_the_modules(tmp_path: Path) -> None:
    """The root's variables are those of envs/local but for the stack's name, which scripts/hosts is given."""
    envs = Path(__file__).resolve().parents[2] / "envs"
    local, several = (hcl2.loads((envs / name / "variables.tf").read_text())["variable"] for name in ("local", "hosts"))
    rules = [
        {
            name.strip('"'): (str(body["type"]), str(body.get("validation")))
            for one in root
            for name, body in one.items()
        }
        for root in (local, several)
    ]
    del rules[0]["stack"]
    for name in ("registry", "registry_login"):  # for the engine `swarm`
        del rules[1][name]
    assert rules[0] == rules[1]
    found = made(*THREE, folder=tmp_path)["module"]
    given = " ".join(str(value) for value in [*found["pods_a"].values(), *found["edge_a"].values()])
    by_local = {"slugs_file": "local.slugs_file", "secrets_dir": "local.secrets_dir", "log_dir": "local.log_dir"}
    for name in rules[1]:
        assert by_local.get(name, f"var.{name}") in given, name


def test_a_swarm_places_the_services_of_one_module_and_each_host_has_an_edge(tmp_path: Path) -> None:
    listed = load(tmp_path, [*THREE[:2], {**THREE[2], "down": True}])
    found = hosts.terraform(listed, "shop", "../../modules", engine="swarm")
    assert set(found["module"]) == {"edge_a", "edge_b", "tasks"}
    tasks = found["module"]["tasks"]
    assert tasks["providers"] == {"docker": "docker.a"}
    assert (tasks["engine"], tasks["registry"]) == ("swarm", "${var.registry}")
    assert "placement" not in tasks
    assert "identity_delivery" not in tasks, "keys are the Swarm's secrets"
    assert found["module"]["edge_a"]["identity_delivery"] == "${var.identity_delivery}"
    assert "registry_login" in found["provider"]["docker"][0]["dynamic"]["registry_auth"]["for_each"]
    assert found["output"]["services"]["value"] == "${module.tasks.services}"
    assert [one["from"] for one in found["removed"]] == ["module.edge_c"]
    hosts.write(listed, "shop", tmp_path, engine="swarm")
    assert hosts.forgotten(tmp_path) == {"c"}, "its edge is in no state, and has names that are needed"


def test_a_host_that_is_down_is_forgotten_and_asked_nothing(tmp_path: Path) -> None:
    found = made({**THREE[0], "down": True}, *THREE[1:], folder=tmp_path)
    engines = {one["alias"]: one["host"] for one in found["provider"]["docker"]}
    assert engines["a"] == engines["b"] == "ssh://deploy@b.example", "Terraform forgets nothing without a provider"
    assert set(found["module"]) == {"edge_b", "pods_b", "edge_c", "pods_c"}
    assert found["module"]["pods_c"]["placement"]["hosts"] == ["b", "c"]
    assert found["resource"]["docker_network"]["mesh"]["provider"] == "docker.b", "another manager has the network too"
    assert [one["from"] for one in found["removed"]] == ["module.pods_a", "module.edge_a"]
    assert not any(one["lifecycle"]["destroy"] for one in found["removed"])


def test_a_drained_host_keeps_its_provider_so_that_it_can_be_emptied(tmp_path: Path) -> None:
    found = made(*THREE[:2], {**THREE[2], "drain": True}, folder=tmp_path)
    assert [one["alias"] for one in found["provider"]["docker"]] == ["a", "b", "c"]
    assert set(found["module"]) == {"edge_a", "pods_a", "edge_b", "pods_b"}
    assert "removed" not in found


def test_the_root_gets_one_file_that_says_where_it_is_from(tmp_path: Path) -> None:
    path = hosts.write(load(tmp_path, THREE), "shop", tmp_path)
    assert path.name == "hosts.tf.json"
    text = json.loads(path.read_text())
    assert "scripts/hosts" in text["//"]
    source = text["module"]["pods_a"]["source"]
    assert (tmp_path / source).resolve() == Path(__file__).resolve().parents[2] / "modules" / "karst_service"


def test_a_host_that_was_down_is_remembered_until_it_is_back(tmp_path: Path) -> None:
    """What it has then is in no state: scripts/hosts removes it, and only then."""
    assert hosts.forgotten(tmp_path) == set()
    hosts.write(load(tmp_path, [THREE[0], {**THREE[1], "down": True}]), "shop", tmp_path)
    assert hosts.forgotten(tmp_path) == {"b"}
    hosts.write(load(tmp_path, THREE), "shop", tmp_path)
    assert hosts.forgotten(tmp_path) == set()


def test_pods_that_move_are_at_both_places_for_one_apply(tmp_path: Path) -> None:
    """A host that is added takes pods from others; on one that is down there is nothing to keep."""
    two, three = load(tmp_path, THREE[:2]), load(tmp_path, THREE)
    assert hosts.moving(two, tmp_path) == [], "the first time nothing moves"
    hosts.write(two, "shop", tmp_path)
    assert hosts.moving(two, tmp_path) == []
    assert hosts.moving(three, tmp_path) == ["a", "b"]
    hosts.write(three, "shop", tmp_path, ["a", "b"])
    assert hosts.moving(three, tmp_path) == ["a", "b"], "an apply that failed is taken up again"
    hosts.write(three, "shop", tmp_path)
    assert hosts.moving(load(tmp_path, [*THREE[:2], {**THREE[2], "down": True}]), tmp_path) == []
    emptied = load(tmp_path, [*THREE[:2], {**THREE[2], "drain": True}])
    assert hosts.moving(emptied, tmp_path) == ["a", "b", "c"]
    first = hosts.terraform(emptied, "shop", "m", ["a", "b", "c"])["module"]
    assert first["pods_c"]["placement"] == {"host": "c", "hosts": ["a", "b"], "keep": ["a", "b", "c"]}
    assert "pods_c" not in hosts.terraform(emptied, "shop", "m")["module"]


def test_a_host_that_does_not_answer_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    engine = f"unix://{tmp_path}/none.sock"
    path = tmp_path / "hosts.yaml"
    path.write_text(yaml.safe_dump([{"name": "a", "docker_host": engine}]))
    with pytest.raises(KarstError, match=f"host `a` does not answer at {engine}") as caught:
        hosts_cli.main(["--root", str(tmp_path), str(path)])
    assert "`down: true`" in caught.value.hint
    assert not (tmp_path / "hosts.tf.json").exists()
    assert hosts_cli.main(["--root", str(tmp_path), "--unchecked", str(path)]) == 0
    assert (tmp_path / "hosts.tf.json").exists()


@pytest.mark.parametrize(
    ("swarm", "words"),
    [
        ({"LocalNodeState": "active", "ControlAvailable": True}, ""),
        ({"LocalNodeState": "inactive", "ControlAvailable": False}, "is in no Swarm"),
        ({"LocalNodeState": "active", "ControlAvailable": False}, "is no manager"),
        ({"LocalNodeState": "active", "ControlAvailable": True, "Error": "no leader"}, "is not well: no leader"),
    ],
)
def test_a_host_must_be_in_the_swarm_and_the_first_a_manager(
    monkeypatch: pytest.MonkeyPatch, swarm: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(hosts_cli, "info", lambda host: {"Swarm": swarm})
    host = Host("a", "ssh://a")
    assert words in hosts_cli.problem(host, [host])
    assert bool(hosts_cli.problem(host, [host])) is bool(words)


@pytest.mark.parametrize(("refusals", "told"), [(2, ""), (9, "volume is in use")])
def test_a_volume_that_is_still_in_use_is_tried_again_and_then_told_of(
    monkeypatch: pytest.MonkeyPatch, refusals: int, told: str
) -> None:
    left = iter(range(refusals))

    def remove() -> None:
        if next(left, None) is not None:
            raise docker.errors.APIError("409", explanation="volume is in use")

    monkeypatch.setattr(hosts_cli.time, "sleep", lambda _: None)
    assert hosts_cli._remove(SimpleNamespace(remove=remove)) == told


def test_a_host_that_is_back_is_cleared_of_all_but_the_tasks_that_its_swarm_sees_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed: list[str] = []

    def member(role: str) -> Member:
        return Member(role, role, "web", role, "", "", "running", 0, role)

    def remove(_docker: Any, members: list[Member]) -> list[str]:
        removed.extend(one.role for one in members)
        return []

    volume = SimpleNamespace(remove=lambda: removed.append("volume"))

    def listed(filters: dict[str, str]) -> list[Any]:
        assert filters == {"label": "karst.stack=shop"}
        return [volume]

    docker = SimpleNamespace(volumes=SimpleNamespace(list=listed))
    monkeypatch.setattr(hosts_cli, "engine", lambda host: contextlib.nullcontext(docker))
    monkeypatch.setattr(
        hosts_cli.containers, "members", lambda docker, stack: list(map(member, ("edge", "task", "pod")))
    )
    monkeypatch.setattr(hosts_cli.leftovers, "remove", remove)
    hosts_cli.clear(Host("a", "ssh://a"), "shop")
    assert removed == ["edge", "pod", "volume"]
