"""Three Docker hosts in a Swarm whose own services the stack is: from the first apply to the last secret."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from karst.swarm.rollout import name_of
from tests.chaos.hosts import REPLICAS
from tests.chaos.scenario import lost
from tests.chaos.swarm import APP, SwarmStage
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.xdist_group("engine")]

CANARY = "KARST_TEST_CANARY"
# Runs in a neighbour: which ports of a task answer.
KNOCK = """
import socket, sys
for port in (15000, 8123, 50051):
    try:
        socket.create_connection((sys.argv[1], port), 2).close()
        print(port, "open")
    except OSError as err:
        print(port, type(err).__name__)
"""
RIGHTS = "grep -hE '^(Name|Uid|CapPrm|CapEff|NoNewPrivs):' /proc/[0-9]*/status 2>/dev/null; true"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster.borrowed(3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwarmStage]:
    folder = tmp_path_factory.mktemp("swarm")
    os.environ[CANARY] = secrets.token_hex(24)
    with cluster.registry(folder / "registry") as registry:
        stage = SwarmStage(folder / "stack", cluster, registry, folder / "registry" / "docker")
        entries = json.loads(stage.kit.list_file.read_text())
        stage.kit.write_list([{**one, "secrets": [CANARY]} for one in entries])
        try:
            yield stage
        finally:
            del os.environ[CANARY]
            stage.close()


def here(stage: SwarmStage, service: str) -> tuple[str, str]:
    """A host with a task of ``service``, and the task's container."""
    host = next(name for name, services in stage.places().items() if service in services)
    return host, stage.container(service, "app", host)


def secrets_of(stage: SwarmStage) -> dict[str, str]:
    """The Swarm's secrets of the stack, name → file."""
    names = stage.spread.door.docker("secret", "ls", "--quiet").split()
    rows = json.loads(stage.spread.door.docker("secret", "inspect", *names)) if names else []
    return {row["Spec"]["Name"]: row["Spec"]["Labels"]["karst.file"] for row in rows}


def hidden(stage: SwarmStage) -> list[bytes]:
    """A line of each private key, and the app's secret."""
    found = [os.environ[CANARY].encode()]
    for service in ("web", "rpc", "caller"):
        lines = (stage.kit.secrets_dir / "mesh" / service / "svid.pem").read_bytes().splitlines()
        found.append(lines[next(n for n, line in enumerate(lines) if b"PRIVATE KEY" in line) + 1])
    return found


def test_three_replicas_are_on_three_hosts_and_each_answers_over_mtls(stage: SwarmStage) -> None:
    assert stage.first()["pending"] == 0, "the second plan has nothing to do"
    places = stage.places()
    assert all(len(places[host][service]) == 1 for host in "abc" for service in ("web", "rpc")), places
    asked = stage.answers()["answers"]
    for service in ("web", "rpc"):
        assert len(asked[service]) == REPLICAS
        assert all("SERVING" in said.split() for said in asked[service].values()), asked


def test_no_key_and_no_secret_is_anywhere_but_in_its_task(stage: SwarmStage) -> None:
    """Not in the state, in a plan, in what the Swarm says of services and tasks, in an image, in a log."""
    door = stage.spread.door
    stage.spread.terraform("plan", "-out=saved.tfplan", "-no-color")
    said = [stage.spread.terraform("show", "-json", *which).stdout.encode() for which in ((), ("saved.tfplan",))]
    (stage.spread.root / "saved.tfplan").unlink()
    said += [path.read_bytes() for path in stage.spread.root.glob("*.tfstate*")]
    assert any(b"docker_service" in text for text in said), "the state was looked at"
    services = [name_of(stage.kit.stack, name) for name in ("web", "rpc", "caller")]
    said.append(door.docker("service", "inspect", *services).encode())
    tasks = door.docker("service", "ps", "--quiet", *services).split()
    said.append(door.docker("inspect", *tasks).encode())
    said += [door.docker("service", "logs", name).encode() for name in services]
    host, container = here(stage, "web")
    engine = {**os.environ, **stage.spread.host(host).env}
    image = stage.spread.host(host).docker("inspect", "--format", "{{.Image}}", container)
    said.append(subprocess.run(["docker", "save", image], env=engine, capture_output=True, check=True).stdout)
    for secret in hidden(stage):
        assert not any(secret in text for text in said)
    # Where it belongs it is, so that the look above looked for the right thing.
    given = stage.spread.host(host).docker("exec", f"--user={APP}", container, "cat", f"/run/secrets/{CANARY}")
    assert given == os.environ[CANARY]


def test_a_task_has_no_rights_and_its_app_cannot_reach_the_key(stage: SwarmStage) -> None:
    host, container = here(stage, "web")
    docker = stage.spread.host(host).docker
    status = docker("exec", f"--user={APP}", container, "sh", "-c", RIGHTS)
    rows = [dict(line.split(":\t") for line in block.splitlines()) for block in split(status)]
    users = {row["Uid"].split()[0] for row in rows}
    assert users == {"10001", "10002"}, rows
    assert all(int(row["CapEff"], 16) == int(row["CapPrm"], 16) == 0 for row in rows), rows
    assert all(row["NoNewPrivs"] == "1" for row in rows if row["Name"] != "grep" and row["Name"] != "sh"), rows
    tries = "cat /secrets/svid.pem; ls /run/karst; cat /proc/1/environ; touch /app/x"
    said = docker("exec", f"--user={APP}", container, "sh", "-c", f"({tries}) 2>&1; true")
    assert "PRIVATE KEY" not in said
    assert said.count("ermission denied") == 3, said
    assert "Read-only file system" in said


def split(status: str) -> list[str]:
    """One block for each process: `Name` is the first of its lines."""
    return [f"Name:{block}".strip() for block in status.split("Name:") if block.strip()]


def test_neighbours_reach_the_sidecar_and_nothing_else(stage: SwarmStage) -> None:
    host, container = here(stage, "web")
    docker = stage.spread.host(host).docker
    server = ["python3", "-m", "http.server", "8123", "--bind", "0.0.0.0"]
    docker("exec", "--detach", f"--user={APP}", "--workdir=/tmp", container, *server)
    edge = stage.spread.door.docker("ps", "--quiet", "--filter", "label=karst.role=edge")
    said = stage.spread.door.docker("exec", edge, "python3", "-c", KNOCK, container)
    assert said.splitlines() == ["15000 open", "8123 TimeoutError", "50051 TimeoutError"]


def test_a_rolling_deploy_over_the_hosts_loses_no_request(stage: SwarmStage) -> None:
    result = stage.watch("roll", stage.roll)
    assert lost(result) == 0, result["failures"][:20]
    assert {version for group in result["groups"].values() for version in group["versions"]} >= {"v1", "v2"}


def test_a_version_that_does_not_come_up_is_taken_back_and_the_apply_says_why(stage: SwarmStage) -> None:
    result = stage.watch("bad", stage.bad)
    assert lost(result) == 0, result["failures"][:20]
    assert "is not healthy: FAILED, exited with code 1: RuntimeError: no database" in result["change"]["reason"]
    assert "unhealthy container" in result["change"]["reason"]
    assert {version for group in result["groups"].values() for version in group["versions"]} == {"v2"}
    assert stage.spread.pending() == 2, "what was asked for is not what runs"
    assert stage.spread.apply()["exit"] == 0, "the code is as it was before"
    assert stage.spread.pending() == 0


def test_a_renewed_certificate_is_rolled_out_and_the_old_key_is_removed(stage: SwarmStage) -> None:
    before = secrets_of(stage)
    number = leaf(stage).serial_number

    def renew(_traffic: Any) -> dict[str, Any]:
        for path in (stage.kit.secrets_dir / "mesh" / "web" / "svid.pem", stage.kit.secrets_dir / "web.crt"):
            path.unlink()
        return stage.spread.apply()

    result = stage.watch("renewal", renew)
    assert lost(result) == 0, result["failures"][:20]
    assert leaf(stage).serial_number != number
    changed = {name: file for name, file in before.items() if name not in secrets_of(stage)}
    assert list(changed.values()) == ["svid.pem"], "the old one is gone, and nothing else"
    assert len(secrets_of(stage)) == len(before)


def leaf(stage: SwarmStage) -> x509.Certificate:
    return x509.load_pem_x509_certificate((stage.kit.secrets_dir / "web.crt").read_bytes())


def test_a_killed_host_leaves_rotation_in_seconds_and_its_tasks_start_elsewhere(stage: SwarmStage) -> None:
    stage.aim()
    result = stage.watch("kill", stage.kill, least=60)
    counted = [result["groups"][name] for name in ("caller|HTTP", "caller|gRPC", "edge|HTTP")]
    failed, sent = (sum(group[key] for group in counted) for key in ("failed", "sent"))
    assert failed < sent / 100, (failed, sent, result["failures"][:20])
    assert result["out_of_rotation_after"] < 10, result["membership"]
    assert result["change"]["rescheduled_after"] is not None, result["change"]
    assert min(stage.running().values()) == REPLICAS


def test_without_the_dead_host_and_with_it_again_a_deploy_loses_no_request(stage: SwarmStage) -> None:
    assert "does not answer" in stage.spread.hosts(check=1).stderr
    assert lost(stage.watch("move", stage.move)) == 0
    result = stage.watch("back", stage.back)
    assert lost(result) == 0, result["failures"][:20]
    assert sorted(stage.places()) == ["a", "b", "c"], "the next roll-out uses a host that is back"
    assert stage.spread.pending() == 0


def test_a_destroy_leaves_nothing(stage: SwarmStage) -> None:
    stage.spread.destroy()
    for name in stage.spread.names:
        docker = stage.spread.host(name).docker
        assert docker("ps", "--all", "--quiet", "--filter", f"label=karst.stack={stage.kit.stack}") == ""
        assert docker("volume", "ls", "--quiet", "--filter", f"label=karst.stack={stage.kit.stack}") == ""
        assert f"net-{stage.kit.stack}" not in docker("network", "ls")
    assert stage.spread.door.docker("service", "ls", "--quiet") == ""
    assert secrets_of(stage) == {}
