"""The admin app in front of a real stack: a real process, the kit's real command, curl on the Unix socket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from admin.audit import verify
from karst.pb import controlplane_pb2 as pb
from karst.pb import controlplane_pb2_grpc
from tests.integration.conftest import CANARY
from tests.support.kit import ROOT, Kit
from tests.support.supabase_stub import SupabaseStub

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]

SLUGS = ["gh:acme/hello", {"slug": "gl:acme/web/caller", "secrets": ["CANARY"], "expose": True}, "bb:acme/job"]


@dataclass
class Admin:
    """A running `scripts/admin`; ``grpc`` is the port of its gRPC server."""

    process: subprocess.Popen[str]
    grpc: int
    socket: Path
    data: Path
    token: str

    def curl(self, path: str, body: Any = None, *options: str) -> str:
        """What curl prints; the token goes in by a file, as it should."""
        header = self.data.parent / "header"
        header.write_text(f"Authorization: Bearer {self.token}\n")
        command = ["curl", "-sS", "--unix-socket", str(self.socket), "-H", f"@{header}", *options]
        if body is not None:
            command += ["-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return subprocess.run(
            [*command, f"http://localhost{path}"], capture_output=True, text=True, timeout=170, check=True
        ).stdout

    def lines(self, path: str, body: Any = None) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.curl(path, body).splitlines()]


def start(kit: Kit, stub: SupabaseStub, token: str) -> Admin:
    """Start the admin app on the kit's stack, with its data in the kit's folder."""
    folder = kit.home / "admin"
    folder.mkdir(exist_ok=True)
    env = {
        **os.environ,
        **kit.env,
        "SUPABASE_URL": stub.url,
        "SUPABASE_SERVICE_ROLE_KEY": stub.service_role_key,
        "KARST_ADMIN_PORT": "0",
        "KARST_ADMIN_GRPC_PORT": "0",
        "KARST_ADMIN_SOCKET": str(folder / "s"),
        "KARST_ADMIN_DATA": str(folder / "data"),
        "KARST_ADMIN_SECRETS": "CANARY",
    }
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [ROOT / "scripts" / "admin"], cwd=kit.home, env=env, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.match(r"admin: http://127\.0\.0\.1:\d+ and ", first), (folder / "log").read_text()
    port = re.match(r"admin: gRPC on 127\.0\.0\.1:(\d+),", process.stdout.readline())
    assert port, (folder / "log").read_text()
    return Admin(process, int(port[1]), folder / "s", folder / "data", token)


@pytest.fixture(scope="module")
def stub() -> Iterator[SupabaseStub]:
    stub = SupabaseStub()
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def admin(kit: Kit, stub: SupabaseStub) -> Iterator[Admin]:
    admin = start(kit, stub, stub.token(stub.add_user("admin")))
    yield admin
    admin.process.terminate()
    admin.process.communicate(timeout=20)


def test_post_deploy_over_the_unix_socket_ends_in_a_result_with_every_service_healthy(admin: Admin) -> None:
    """The brief's call, with `curl --unix-socket`."""
    events = admin.lines("/deploy", {"slugs": SLUGS})
    result = events[-1]
    assert (result["type"], result["outcome"], result["exit_code"]) == ("result", "ok", 0), events
    assert {row["service"]: row["status"] for row in result["services"]} == {
        "hello": "SERVING",
        "caller": "SERVING",
        "job": "COMPLETED",
    }
    assert {"plan", "health"} <= {event.get("phase") for event in events if event["type"] == "phase"}
    assert verify(admin.data / "audit.ndjson").ok


def test_a_dry_run_says_by_service_what_would_change_and_changes_nothing(kit: Kit, admin: Admin) -> None:
    before = kit.pods()
    changed = [*SLUGS[:2], {"slug": "bb:acme/job", "env": {"ROUND": "1"}}]
    events = admin.lines("/deploy", {"slugs": changed, "dry_run": True})
    assert events[-1]["outcome"] == "ok", events
    plan = json.loads(admin.curl("/v1/plan"))["plan"]
    assert {name: entry["action"] for name, entry in plan["services"].items() if entry["action"] != "none"} == {
        "job": "replace"
    }
    assert (plan["applicable"], kit.pods()) == (True, before)


def test_the_api_shows_services_logs_and_numbers_of_the_real_stack(admin: Admin) -> None:
    """From Docker's labels, the health over mTLS, and Envoy's own statistics."""
    services = {row["service"]: row for row in json.loads(admin.curl("/v1/services"))["services"]}
    assert services["hello"]["status"] == "SERVING"
    assert len(services["hello"]["revision"]) == 40
    assert {each["role"] for each in services["hello"]["containers"]} == {"pod", "app", "sidecar"}
    lines = admin.lines("/v1/services/job/logs?tail=50")
    assert any("forty-two" in line["msg"] for line in lines)
    stats = json.loads(admin.curl("/v1/services/hello/stats"))["stats"]
    assert stats["server.live"] == 1
    assert stats["http.inbound.downstream_rq_total"] >= 0
    assert json.loads(admin.curl("/v1/services/nobody/stats"))["status"] == 404


def test_killing_the_admin_app_in_the_middle_of_a_deploy_loses_nothing(
    kit: Kit, admin: Admin, stub: SupabaseStub
) -> None:
    """SIGKILL while a pod is being replaced: the run goes on, and the next admin app tells how it really ended."""
    before = kit.pods()
    run = json.loads(admin.curl("/v1/deploys", {"slugs": _changed("killed")}))
    _await_replacement(admin, run["id"])
    admin.process.send_signal(signal.SIGKILL)
    admin.process.communicate(timeout=20)
    again = start(kit, stub, admin.token)
    admin.process, admin.grpc = again.process, again.grpc
    events = again.lines(f"/v1/deploys/{run['id']}/events")
    assert (events[-1]["type"], events[-1]["outcome"]) == ("result", "ok")
    after = kit.pods()
    assert (after["job"] != before["job"], after["hello"] == before["hello"]) == (True, True)
    assert not list((kit.home / "state").rglob("*.lock.info"))
    assert admin.lines("/deploy", {"slugs": _changed("killed"), "dry_run": True})[-1]["outcome"] == "ok"
    assert json.loads(admin.curl("/v1/plan"))["plan"]["changes"] == 0
    assert verify(admin.data / "audit.ndjson").ok


def test_a_client_that_goes_away_does_not_stop_the_run(kit: Kit, admin: Admin) -> None:
    """curl gives up after two seconds, in the middle of the stream."""
    before = kit.pods()["job"]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        admin.curl("/deploy", {"slugs": _changed("left")}, "--max-time", "2", "--no-buffer")
    assert caught.value.returncode == 28
    run = json.loads(caught.value.stdout.splitlines()[0])["run"]
    assert json.loads(admin.curl(f"/v1/deploys/{run}"))["state"] == "running"
    assert admin.lines(f"/v1/deploys/{run}/events")[-1]["outcome"] == "ok"
    assert kit.pods()["job"] != before


def test_a_deploy_cancelled_in_the_middle_of_the_apply_leaves_no_lock_and_the_next_one_goes_through(
    kit: Kit, admin: Admin
) -> None:
    """SIGINT once to the whole group, Terraform included, while a pod is being replaced."""
    run = json.loads(admin.curl("/v1/deploys", {"slugs": _changed("cancelled")}))
    _await_replacement(admin, run["id"])
    admin.curl(f"/v1/deploys/{run['id']}/cancel", {})
    events = admin.lines(f"/v1/deploys/{run['id']}/events")
    assert (events[-1]["type"], events[-1]["outcome"], events[-1]["exit_code"]) == ("result", "interrupted", 130)
    assert not list((kit.home / "state").rglob("*.lock.info"))
    assert json.loads(kit.state_file.read_text())["resources"]
    assert admin.lines("/deploy", {"slugs": SLUGS})[-1]["outcome"] == "ok"


def test_grpc_deploys_and_tells_health_and_logs_of_the_real_stack(kit: Kit, admin: Admin) -> None:
    """With the operator's certificate, the same run as over HTTP. No list file: `caller` and its secret go."""
    folder = kit.secrets_dir
    credentials = grpc.ssl_channel_credentials(
        *((folder / name).read_bytes() for name in ("ca.pem", "operator.key", "operator.crt"))
    )
    with grpc.secure_channel(
        f"127.0.0.1:{admin.grpc}", credentials, [("grpc.ssl_target_name_override", "ops-admin")]
    ) as channel:
        stub = controlplane_pb2_grpc.ControlPlaneStub(channel)
        assert stub.HealthCheck(empty_pb2.Empty(), timeout=20).status == pb.HealthStatus.SERVING
        answer = stub.Deploy(pb.DeployRequest(slugs=["gh:acme/hello", "bb:acme/job"]), timeout=170)
        assert answer.exit_code == 0
        assert {row.service: row.status for row in answer.results} == {
            "hello": pb.HealthStatus.SERVING,
            "job": pb.HealthStatus.COMPLETED,
        }
        lines = list(stub.StreamLogs(pb.LogRequest(), timeout=20))
    assert any("forty-two" in line.msg and line.service == "job" for line in lines)
    run = json.loads(admin.curl(f"/v1/deploys/{answer.run}"))
    assert (run["by"], run["outcome"]) == ("spiffe://karst.local/ops/operator", "ok")


def test_the_iac_command_works_through_the_admin_app(kit: Kit, admin: Admin) -> None:
    """Signed in over the Unix socket with a pasted token: deploy, health, logs and runs of the real stack."""
    env = {**os.environ, "XDG_CONFIG_HOME": str(kit.home / "config"), "NO_COLOR": "1", "KARST_STACK": ""}
    (kit.home / "remote.yaml").write_text(json.dumps(SLUGS))

    def iac(*arguments: str, stdin: str = "") -> str:
        command = [str(ROOT / "admin" / "iac"), "--socket", str(admin.socket), *arguments]
        done = subprocess.run(
            command, input=stdin, cwd=kit.home, env=env, capture_output=True, text=True, timeout=170, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    iac("login", "--token", stdin=admin.token + "\n")
    result = json.loads(iac("deploy", "--json", "--file", "remote.yaml"))
    assert {row["service"]: row["outcome"] for row in result["services"]}["caller"] == "deployed"
    assert {row["service"] for row in json.loads(iac("health", "--json"))} == {"hello", "caller", "job"}
    assert "job" in iac("logs", "--grep", "forty-two")
    assert json.loads(iac("runs", "--json"))[0]["outcome"] == "ok"


def _changed(round_: str) -> list[Any]:
    """The list with another `env:` of the job, so that its pod is replaced."""
    return [*SLUGS[:2], {"slug": "bb:acme/job", "env": {"ROUND": round_}}]


def _await_replacement(admin: Admin, run_id: str) -> None:
    """Until Terraform has begun to change a container."""
    deadline = time.monotonic() + 90
    while not any(event.get("state") == "start" for event in _events(admin, run_id) if event["type"] == "service"):
        assert time.monotonic() < deadline, _events(admin, run_id)
        time.sleep(0.1)


def _events(admin: Admin, run_id: str) -> list[dict[str, Any]]:
    text = (admin.data / "runs" / run_id / "events.ndjson").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_no_secret_is_in_anything_the_admin_app_keeps(kit: Kit, admin: Admin, stub: SupabaseStub) -> None:
    """Tokens, keys and the services' secrets: not in runs, events, audit log or its own log."""
    kept = [path for path in (kit.home / "admin").rglob("*") if path.is_file() and path.name != "header"]
    text = "".join(path.read_text(errors="replace") for path in kept)
    for secret in (admin.token, stub.service_role_key, CANARY):
        assert secret not in text
