"""Keys and secrets that are sent into memory of the Docker host, as for one that is not this machine."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests.integration.conftest import CALLER, CANARY, HELLO
from tests.support.kit import Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Two services whose containers mount no folder of this machine."""
    home = tmp_path_factory.mktemp("sent")
    kit = Kit(home, env={"KARST_IDENTITY_DELIVERY": "memory", "CANARY": CANARY})
    for name, text in {"hello": HELLO, "caller": CALLER}.items():
        (home / name).mkdir()
        (home / name / "main.py").write_text(text)
    kit.write_list(["dir:hello", {"slug": "dir:caller", "secrets": ["CANARY"], "expose": True}])
    with kit.deployed():
        yield kit


def of_role(kit: Kit, role: str, service: str | None = None) -> str:
    [found] = [row["Id"] for row in kit.containers(service) if row["Config"]["Labels"]["karst.role"] == role]
    return str(found)


def answer(kit: Kit) -> bytes:
    """What the caller says through the front door: the other service's answer and the length of its secret."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{kit.ports['front_door']}/", headers={"Host": "caller.localhost"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return bytes(response.read())


def test_no_container_mounts_a_folder_and_every_volume_with_keys_is_in_memory(sent: Kit) -> None:
    mounts = [mount for row in sent.containers() for mount in row["Mounts"]]
    assert {mount["Type"] for mount in mounts} == {"volume"}
    volumes = json.loads(docker("volume", "inspect", *{mount["Name"] for mount in mounts}))
    assert {one["Options"]["type"] for one in volumes} == {"tmpfs"}
    assert len(volumes) == 4  # the key of each service and of the edge, and one app's secrets
    writable = {
        (row["Config"]["Labels"]["karst.role"], mount["Destination"])
        for row in sent.containers()
        for mount in row["Mounts"]
        if mount["RW"]
    }
    assert writable == {("pod", "/secrets"), ("pod", "/app-secrets"), ("keeper", "/secrets")}


def test_the_services_serve_and_the_app_has_its_secret(sent: Kit) -> None:
    assert {row["status"] for row in sent.health().values()} == {"SERVING"}
    assert answer(sent) == f"version one {len(CANARY)}".encode()
    sent.iac("certs", "--check")


def test_a_second_plan_is_empty_and_neither_state_nor_plan_holds_a_key(sent: Kit) -> None:
    sent.iac("plan", "--detailed-exitcode")
    kept = sent.state_file.read_text() + sent.iac("plan", "--json").stdout
    kept += "".join(path.read_bytes().decode("latin-1") for path in (sent.home / "state").rglob("*.tfplan"))
    for path in (*sent.secrets_dir.rglob("svid.pem"), *sent.secrets_dir.rglob("*.key")):
        key = path.read_text().split("PRIVATE KEY-----")[1].strip()[:60]
        assert key not in kept.replace("\\n", "\n"), path
    assert CANARY not in kept


def test_renewed_keys_reach_running_containers_by_the_command_and_by_an_apply(sent: Kit) -> None:
    """No container is restarted for it, let alone replaced; each Envoy shows the new certificate."""
    running = {row["Id"]: row["State"]["StartedAt"] for row in sent.containers()}
    sent.iac("certs", "rotate")
    sent.iac("certs", "--check")
    # As when it became due: the next plan issues it anew, and its apply delivers it.
    (sent.secrets_dir / "mesh" / "hello" / "svid.pem").unlink()
    sent.deploy()
    sent.iac("certs", "--check")
    assert {row["Id"]: row["State"]["StartedAt"] for row in sent.containers()} == running
    sent.iac("certs", "rotate", "--ca", "--yes")
    sent.iac("certs", "--check")
    assert {row["Id"]: row["State"]["StartedAt"] for row in sent.containers()} == running


def test_one_container_started_again_still_has_its_key(sent: Kit) -> None:
    for role, service in (("sidecar", "caller"), ("edge", None)):
        docker("restart", of_role(sent, role, service))
    sent.iac("heal")
    assert {row["status"] for row in sent.health().values()} == {"SERVING"}
    assert answer(sent).startswith(b"version one")


def test_keys_that_went_with_a_restart_of_the_host_are_missed_and_sent_again(sent: Kit) -> None:
    """The app is not started without its secrets; and a deploy with nothing to do sends them, too."""
    for command in (["heal", "--json"], ["deploy", "--file", str(sent.list_file)]):
        members = [row["Id"] for row in sent.containers()]
        docker("stop", "--time", "1", *members)  # as after a boot: nobody holds the volumes any more
        docker("start", *(row for role in ("pod", "keeper") for row in members if row in _by_role(sent, role)))
        docker("start", *members)
        assert docker("exec", "--user", "10001", of_role(sent, "pod", "hello"), "ls", "/secrets") == ""
        found = {one["code"] for row in sent.health(check=5).values() for one in row["findings"]}
        assert found >= {"keys_missing"}
        assert "waits for its secrets" in docker("logs", "--tail", "3", of_role(sent, "app", "caller"))
        sent.iac(*command)
        assert {row["status"] for row in sent.health().values()} == {"SERVING"}
        assert answer(sent).startswith(b"version one")


def _by_role(kit: Kit, role: str) -> set[str]:
    return {row["Id"] for row in kit.containers() if row["Config"]["Labels"]["karst.role"] == role}
