"""From slugs to services that answer HealthCheck over mTLS: the whole way, with nothing replaced."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from karst.toolchain.record import terraform_command, terraform_environment, tool
from tests.integration.conftest import HELLO, JOB
from tests.support.envoy import base
from tests.support.githost import GitHost
from tests.support.kit import ROOT, Kit, docker
from tests.support.mesh import STANDINS

# As grpc publishes it, without the comments.
HEALTH_PROTO = """
syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
  ServingStatus status = 1;
}
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }
"""

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]


def test_every_service_answers_healthcheck_over_mtls(kit: Kit) -> None:
    """Servers are SERVING, a job that ended well is COMPLETED, each at the commit that was fetched."""
    health = kit.health()
    assert {name: row["status"] for name, row in health.items()} == {
        "hello": "SERVING",
        "caller": "SERVING",
        "job": "COMPLETED",
    }
    assert all(len(row["revision"]) == 40 for row in health.values())


def test_services_reach_each_other_through_their_sidecars(kit: Kit) -> None:
    """The front door asks caller, caller asks `http://hello`; its secret arrived as a file of the right length."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{kit.ports['front_door']}/", headers={"Host": "caller.localhost"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.read() == b"version one 17"


def test_the_edge_shows_each_services_statistics_on_localhost(kit: Kit) -> None:
    """`/services/<name>/stats` at the metrics port is that sidecar's own."""
    base = f"http://127.0.0.1:{kit.ports['metrics']}"
    with urllib.request.urlopen(f"{base}/services/hello/stats", timeout=10) as answer:
        assert b"http.inbound" in answer.read()
    with urllib.request.urlopen(f"{base}/stats", timeout=10) as answer:
        assert answer.status == 200


def test_a_foreign_grpc_client_gets_serving_with_the_operators_certificate(kit: Kit) -> None:
    """Plain grpcio with the three files of the secrets folder, no code of the kit."""
    code = """
import sys, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
folder, port = sys.argv[1:]
read = lambda name: open(f"{folder}/{name}", "rb").read()
credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("operator.key"), read("operator.crt"))
options = [("grpc.ssl_target_name_override", "hello"), ("grpc.default_authority", "hello")]
with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
"""
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code, str(kit.secrets_dir), str(kit.ports["edge"])],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == "SERVING", done.stderr


@pytest.mark.parametrize(
    ("proto", "method", "answer"),
    [
        (str(ROOT / "proto" / "controlplane.proto"), "karst.v1.ControlPlane/HealthCheck", '"status": "SERVING"'),
        ("health.proto", "grpc.health.v1.Health/Check", '"status": "SERVING"'),
    ],
)
def test_grpcurl_gets_serving_as_the_readme_says(
    proto: str, method: str, answer: str, kit: Kit, tmp_path: Path
) -> None:
    """A client in another language, with the flags of the README."""
    grpcurl = tool("grpcurl")
    if grpcurl is None:
        pytest.skip("GRPCURL COULD NOT BE HAD: it needs Go and the Go module proxy")
    (tmp_path / "health.proto").write_text(HEALTH_PROTO)
    folder = kit.secrets_dir
    done = subprocess.run(
        [
            *(
                grpcurl,
                "-cacert",
                f"{folder}/ca.pem",
                "-cert",
                f"{folder}/operator.crt",
                "-key",
                f"{folder}/operator.key",
            ),
            *("-servername", "hello", "-authority", "hello"),
            *("-import-path", str((tmp_path / proto).parent), "-proto", Path(proto).name),
            *(f"127.0.0.1:{kit.ports['edge']}", method),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer in done.stdout, done.stderr


def test_a_neighbour_container_gets_nothing_but_refusals(kit: Kit) -> None:
    """`caller` binds 0.0.0.0:8000, and yet only 15000 answers, to those with a certificate. tests/mesh has the rest."""
    plaintext = "GET / HTTP/1.1\r\nHost: caller\r\n\r\n"
    closed = {"app": 8000, "runner": 50051, "outbound": 15001, "metrics": 9901}
    tasks: list[dict[str, object]] = [{"host": "caller", "port": port, "send": plaintext} for port in closed.values()]
    tasks += [
        {"host": "caller", "port": 15000, "send": plaintext},
        {"host": "caller", "port": 15000, "tls": True, "cert": "", "path": "/"},
    ]
    done = subprocess.run(
        [
            *(
                "docker",
                "run",
                "--rm",
                "-i",
                "--network",
                f"iacnet-{kit.stack}",
                "--volume",
                f"{STANDINS}:/standins:ro",
            ),
            *(base(), "python3", "/standins/client.py"),
        ],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert answers[:4] == [{"error": "TimeoutError: timed out"}] * 4
    assert answers[4].get("answer", "") == ""
    assert "status" not in answers[5]


@pytest.mark.slow
def test_the_number_of_processes_of_a_plan_does_not_grow_with_the_services(kit: Kit, tmp_path: Path) -> None:
    """Every program of the kit starts through one Python: a wrapper counts its starts for 2 and for 12 services."""
    starts = tmp_path / "starts"
    real = subprocess.run(
        [str(ROOT / "scripts" / "toolchain" / "environment"), "--path"], capture_output=True, text=True, check=True
    ).stdout.strip()
    wrapper = tmp_path / "venv" / "bin" / "python"
    wrapper.parent.mkdir(parents=True)
    wrapper.write_text(f'#!/bin/sh\necho start >>"{starts}"\nexec "{real}/bin/python" "$@"\n')
    wrapper.chmod(0o755)
    counts = []
    for number in (2, 12):
        other = Kit(tmp_path / f"plan{number}", env={"KARST_VENV": str(wrapper.parent.parent)})
        (other.home / "app").mkdir()
        (other.home / "app" / "main.py").write_text(JOB)
        other.write_list([{"slug": "dir:app", "name": f"job-{index}"} for index in range(number)])
        starts.unlink(missing_ok=True)
        other.iac("plan", "--file", str(other.list_file))
        counts.append(len(starts.read_text().splitlines()))
    assert counts[0] == counts[1]
    assert counts[0] >= 6  # iac itself, and fetch, detect, render and identity (for services and for the edge)


def test_logs_show_what_an_app_printed(kit: Kit) -> None:
    """`iac logs` finds the job's line, as text and as JSON."""
    assert "forty-two" in kit.iac("logs", "--service", "job").stdout
    rows = [json.loads(line) for line in kit.iac("logs", "--service", "job", "--json").stdout.splitlines()]
    assert any(row["msg"] == "forty-two" and row["service"] == "job" for row in rows)


def test_a_second_deploy_changes_nothing_and_asks_no_git_host(kit: Kit, git_host: GitHost) -> None:
    """With lock file and warm cache the plan needs no network, and its result is empty."""
    before, requests = kit.pods(), len(git_host.log)
    events = kit.deploy()
    plan = next(event for event in events if event["type"] == "plan")
    assert plan["changes"] == 0
    assert kit.pods() == before
    assert len(git_host.log) == requests
    assert events[-1]["type"] == "result"
    assert events[-1]["outcome"] == "ok"


def test_a_changed_file_replaces_one_pod_and_no_other(kit: Kit, git_host: GitHost) -> None:
    """`iac update hello` moves the lock to the new commit; the deploy replaces hello's pod alone."""
    before = kit.pods()
    head = git_host.commit("gh:acme/hello", {"main.py": HELLO.replace("version one", "version two")})
    assert "hello:" in kit.iac("update", "--file", str(kit.list_file), "hello").stdout
    kit.deploy()
    after = kit.pods()
    assert {name for name in before if before[name] != after[name]} == {"hello"}
    health = kit.health()
    assert health["hello"]["status"] == "SERVING"
    assert health["hello"]["revision"] == head


def test_two_deploys_at_once_are_refused_with_the_holder(kit: Kit) -> None:
    """The second one ends with exit 3 and says who holds the stack."""
    from karst.files import locked

    with locked(kit.home / "state" / kit.stack / "lock"):
        done = kit.iac("deploy", "--file", str(kit.list_file), check=3)
    assert f"stack `{kit.stack}` is busy" in done.stderr


def test_nothing_secret_is_in_state_plan_inspect_history_or_logs(kit: Kit) -> None:
    """Canaries: the secret's value, the git token, and every private key under the secrets folder."""
    canaries = {"secret": kit.env["CANARY"], "token": kit.env["GITLAB_TOKEN"]}
    for path in kit.secrets_dir.rglob("*"):
        if path.is_file() and path.suffix in (".key", ".pem") and "PRIVATE KEY" in (text := path.read_text()):
            body = text.split("PRIVATE KEY-----")[1]
            canaries[path.name] = body.replace("\n", "")[20:60]
    kit.iac("plan", "--file", str(kit.list_file))
    home = kit.home / "state" / kit.stack
    # The plan file is compressed: what is in it has to be shown.
    plan = subprocess.run(
        [terraform_command(), f"-chdir={ROOT}/envs/local", "show", "-json", str(home / "karst.tfplan")],
        env={**terraform_environment(), "TF_DATA_DIR": str(home / "terraform")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    images = {row["Image"] for row in kit.containers()}
    places = {
        "state": kit.state_file.read_text(),
        "plan": plan,
        "docker inspect": json.dumps(kit.containers()),
        "image history": "\n".join(docker("history", "--no-trunc", image) for image in images),
        "logs": "\n".join(_logs(row["Id"]) for row in kit.containers()),
        **{str(path.name): path.read_bytes().decode("latin-1") for path in home.rglob("*") if path.is_file()},
    }
    assert len(canaries) >= 5
    for place, text in places.items():
        whole = text.replace("\\n", "").replace("\n", "")
        assert [name for name, value in canaries.items() if value in whole] == [], place


def _logs(identifier: str) -> str:
    """What a container has printed, on both streams: Envoy uses the second."""
    command = ["docker", "logs", identifier]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=True
    ).stdout
