"""What a Swarm's tasks are supplied with: which secrets are made, kept and removed, and what they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from karst.errors import KarstError
from karst.swarm import cli, supplies
from karst.swarm.supplies import Supplies, secret_name

VERSIONS = {"svid.pem": "f1", "ca.pem": "bb", "app/TOKEN": "d1"}


class FakeApi:
    """A manager that holds secrets and services."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.listed: list[dict[str, Any]] = []
        self.images: dict[str, list[str]] = {}
        self.pushed: list[dict[str, str]] = []

    def create_secret(self, name: str, data: bytes, labels: dict[str, str]) -> dict[str, str]:
        assert name not in {row["Spec"]["Name"] for row in self.held.values()}
        identifier = f"id{len(self.held)}"
        self.held[identifier] = {"ID": identifier, "Spec": {"Name": name, "Labels": labels}, "data": data}
        return {"ID": identifier}

    def secrets(self, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        wanted = dict(word.split("=", 1) for word in filters["label"])
        return [row for row in self.held.values() if wanted.items() <= row["Spec"]["Labels"].items()]

    def remove_secret(self, identifier: str) -> None:
        del self.held[identifier]

    def services(self, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        return self.listed

    def inspect_image(self, name: str) -> dict[str, Any]:
        if name not in self.images:
            raise docker.errors.ImageNotFound(name)
        return {"RepoDigests": self.images[name]}

    def inspect_distribution(self, name: str) -> dict[str, Any]:
        return {"Descriptor": {"digest": f"sha256:of-{name}"}}

    def push(self, repository: str, tag: str, stream: bool, decode: bool) -> list[dict[str, str]]:
        return self.pushed


class FakeDocker:
    def __init__(self) -> None:
        self.api = FakeApi()


@pytest.fixture
def wanted(tmp_path: Path) -> Supplies:
    for path, text in (("mesh/web/svid.pem", "key"), ("mesh/web/ca.pem", "ca"), ("app/web/TOKEN", "token")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    env = {
        "KARST_STACK": "shop",
        "KARST_SERVICE": "web",
        "KARST_IMAGE": "registry.example:5000/shop/web:1",
        "KARST_SECRETS": json.dumps(VERSIONS),
        "KARST_SECRETS_DIR": str(tmp_path),
    }
    return Supplies.from_env(env)


def spec(*identifiers: str) -> dict[str, Any]:
    return {"TaskTemplate": {"ContainerSpec": {"Secrets": [{"SecretID": one} for one in identifiers]}}}


def test_each_file_is_a_secret_made_once(wanted: Supplies) -> None:
    engine = FakeDocker()
    supplies.make_secrets(engine, wanted)
    supplies.make_secrets(engine, wanted)
    held = {row["Spec"]["Labels"]["karst.file"]: row["data"] for row in engine.api.held.values()}
    assert held == {"svid.pem": b"key", "ca.pem": b"ca", "app/TOKEN": b"token"}
    assert all(row["Spec"]["Labels"]["karst.stack"] == "shop" for row in engine.api.held.values())


def test_a_file_that_is_not_there_is_one_sentence(wanted: Supplies, tmp_path: Path) -> None:
    (tmp_path / "app" / "web" / "TOKEN").unlink()
    with pytest.raises(KarstError, match=r"cannot read .*/app/web/TOKEN"):
        supplies.make_secrets(FakeDocker(), wanted)


def test_a_name_is_one_version_of_one_file_and_not_too_long() -> None:
    long = ("s" * 20, "w" * 40)
    names = {secret_name(*long, file, version) for file in ("svid.pem", "ca.pem") for version in ("1", "2")}
    names |= {secret_name("shop", "web", "svid.pem", "1"), secret_name("shop-web", "x", "svid.pem", "1")}
    assert len(names) == 6
    assert max(map(len, names)) <= 64
    assert secret_name("shop", "web", "svid.pem", "1").startswith("shop-web-")


def test_find_answers_ids_and_the_image_as_it_was_pushed(wanted: Supplies) -> None:
    engine = FakeDocker()
    supplies.make_secrets(engine, wanted)
    digest = "sha256:" + "1" * 64
    engine.api.images = {wanted.image: [f"elsewhere/web@{digest[:-1]}2", f"registry.example:5000/shop/web@{digest}"]}
    asked = {"web": {"image": wanted.image, "secrets": VERSIONS}}
    found = supplies.find(engine, "shop", asked)["web"]
    assert found["image"] == f"{wanted.image}@{digest}"
    assert {file: engine.api.held[one["id"]]["Spec"]["Name"] for file, one in found["secrets"].items()} == {
        file: secret_name("shop", "web", file, version) for file, version in VERSIONS.items()
    }
    engine.api.images = {}  # another manager, which has not built it
    assert supplies.find(engine, "shop", asked)["web"]["image"] == f"{wanted.image}@sha256:of-{wanted.image}"


def test_a_secret_that_somebody_removed_is_named(wanted: Supplies) -> None:
    with pytest.raises(KarstError, match=r"no secret for app/TOKEN, ca\.pem, svid\.pem") as caught:
        supplies.find(FakeDocker(), "shop", {"web": {"image": wanted.image, "secrets": VERSIONS}})
    assert 'terraform_data.supplies["web"]' in caught.value.hint


def test_what_no_service_refers_to_is_removed_and_what_a_rollback_needs_is_not(wanted: Supplies) -> None:
    engine = FakeDocker()
    supplies.make_secrets(engine, wanted)
    engine.api.create_secret("other", b"", {"karst.stack": "shop", "karst.service": "api"})
    engine.api.listed = [{"Spec": spec("id0"), "PreviousSpec": spec("id1")}, {"Spec": {"TaskTemplate": {}}}]
    assert len(supplies.remove_unused(engine, "shop", "web", keep_previous=True)) == 1
    assert set(engine.api.held) == {"id0", "id1", "id3"}
    supplies.remove_unused(engine, "shop", "web")
    assert set(engine.api.held) == {"id0", "id3"}, "another service's secrets are its own"


def test_a_push_that_the_registry_refuses_is_told_in_its_words() -> None:
    engine = FakeDocker()
    engine.api.pushed = [{"status": "Preparing"}, {"error": "denied: no access"}]
    with pytest.raises(KarstError, match=r"shop/web:1 could not be pushed: denied: no access"):
        supplies.push(engine, "registry.example:5000/shop/web:1")


def test_no_services_are_no_question_to_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert cli.find({"stack": "shop", "services": "{}", "host": "", "certs": ""}) == {"services": "{}"}


@pytest.mark.parametrize("arguments", [[], ["rollback"], ["find", "wait"]])
def test_what_it_can_do_is_said(arguments: list[str]) -> None:
    with pytest.raises(KarstError, match=r"supply\|find\|wait\|clear"):
        cli.main(arguments)


def test_what_the_environment_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_STACK", "shop")
    monkeypatch.setenv("KARST_SERVICE", "web")
    monkeypatch.delenv("KARST_ROLLOUT", raising=False)
    with pytest.raises(KarstError, match="`scripts/swarm wait` needs 'KARST_ROLLOUT'"):
        cli.main(["wait"])
