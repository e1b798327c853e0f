"""The examples that are lists, each deployed from a foreign folder as its README says, by the example's own files."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.githost import GitHost
from tests.support.kit import ROOT, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("stack")]

EXAMPLES = ROOT / "examples"
TOKEN = "token-canary-4c1f09"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path / "githost") as server:
        yield server


def copied(kit: Kit, name: str) -> Path:
    """The list of an example in a copy, because a lock file is written beside it."""
    return Path(shutil.copytree(EXAMPLES / name, kit.home / "examples" / name)) / "repos.yaml"


def test_a_commit_builds_only_the_service_of_a_monorepo_whose_folder_it_touches(tmp_path: Path, host: GitHost) -> None:
    host.create("gh:acme/monorepo", EXAMPLES / "monorepo" / "repository")
    kit = Kit(tmp_path / "kit", env=host.environment())
    services = str(copied(kit, "monorepo"))
    try:
        kit.iac("deploy", "--file", services)
        assert kit.ask("web") == "web says: good morning\n"
        health, before = kit.health(), kit.images()
        assert {one["status"] for one in health.values()} == {"SERVING"}
        assert health["web"]["revision"] == health["greeter"]["revision"]

        changed = tmp_path / "changed"
        shutil.copytree(EXAMPLES / "monorepo" / "repository", changed)
        main = changed / "services" / "greeter" / "main.py"
        main.write_text(main.read_text().replace("good morning", "good evening"))
        host.commit("gh:acme/monorepo", changed)
        kit.iac("update", "--file", services)
        plan = json.loads(kit.iac("plan", "--file", services, "--json").stdout)["services"]
        told = {name: [reason["what"] for reason in plan[name]["reasons"]] for name in ("web", "greeter")}
        assert told == {"web": ["commit"], "greeter": ["commit", "image"]}, plan
        kit.iac("deploy", "--file", services)
        assert kit.ask("web") == "web says: good evening\n"
        after, health = kit.images(), kit.health()
        assert (after["web"], after["greeter"] != before["greeter"]) == (before["web"], True)
        assert health["web"]["revision"] == health["greeter"]["revision"]
    finally:
        kit.destroy()


def test_a_private_repository_takes_the_token_of_the_environment_and_it_is_left_nowhere(
    tmp_path: Path, host: GitHost
) -> None:
    host.create("gh:acme/private", EXAMPLES / "hello", tags=["v1.0.0"])
    host.configure("gh:acme/private", token=TOKEN)
    kit = Kit(tmp_path / "kit", env={**host.environment(), "GITHUB_TOKEN": ""})
    services = str(copied(kit, "private-repository"))
    try:
        refused = kit.iac("deploy", "--file", services, check=1)
        assert "GITHUB_TOKEN" in refused.stderr, refused.stderr
        assert kit.containers() == []
        kit.env["GITHUB_TOKEN"] = TOKEN
        said = kit.iac("deploy", "--file", services)
        assert kit.health()["private"]["status"] == "SERVING"
        assert TOKEN not in said.stdout + said.stderr + json.dumps(kit.containers())
        written = [path for path in kit.home.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
        assert written == []
    finally:
        kit.destroy()


def test_an_authority_of_ones_own_with_an_intermediate_is_trusted_by_its_root_alone(tmp_path: Path) -> None:
    """Made by the example's script; a client that knows the root and nothing else reaches a service."""
    kit = Kit(tmp_path / "kit")
    shutil.copytree(EXAMPLES / "hello", kit.home / "examples" / "hello")
    services = copied(kit, "own-ca")
    offline = tmp_path / "offline"
    subprocess.run([services.parent / "make-ca.sh", offline, kit.secrets_dir], check=True, timeout=60)
    try:
        kit.iac("deploy", "--file", str(services))
        context = ssl.create_default_context(cafile=str(offline / "root.pem"))
        context.load_cert_chain(kit.secrets_dir / "operator.crt", kit.secrets_dir / "operator.key")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", kit.ports["edge"]), 5) as plain,
            context.wrap_socket(plain, server_hostname="hello") as tls,
        ):
            shown = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
        assert shown.issuer.rfc4514_string() == "CN=Example Mesh Intermediate"
        assert kit.health()["hello"]["status"] == "SERVING"
        assert json.loads(kit.iac("certs", "--json").stdout)
        assert not (kit.secrets_dir / "root.key").exists()
    finally:
        kit.destroy()
