"""The gRPC ControlPlane: who gets in, what the calls answer, and that certificates change while it runs."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf import empty_pb2, timestamp_pb2

from admin.audit import verify
from admin.controlplane.servicer import summary
from karst.errors import KarstError
from karst.identity.names import Identity
from karst.identity.store import Store
from karst.pb import controlplane_pb2 as pb
from karst.pb import controlplane_pb2_grpc
from karst.toolchain.record import tool
from tests.support import certificates as forge
from tests.support.admin_app import App, fake_command, running
from tests.support.supabase_stub import SupabaseStub

ROOT = Path(__file__).resolve().parents[3]
OPERATOR = "spiffe://karst.local/ops/operator"


@pytest.fixture
def app(start_app: Callable[..., App]) -> App:
    return start_app(grpc_port=0)


@contextmanager
def connected(app: App, pem: bytes | None = None, trust: bytes | None = None) -> Iterator[Any]:
    """A stub over TLS; ``pem`` is chain and key of the client (default: the operator's)."""
    secrets = app.folder / "secrets"
    if pem is None:
        pem = (secrets / "operator.crt").read_bytes() + (secrets / "operator.key").read_bytes()
    chain, begin, key = pem.partition(b"-----BEGIN PRIVATE")
    ca = (secrets / "ca.pem").read_bytes() if trust is None else trust
    credentials = grpc.ssl_channel_credentials(ca, begin + key or None, chain or None)
    options = [("grpc.ssl_target_name_override", "ops-admin"), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"127.0.0.1:{app.instance.grpc_port}", credentials, options) as channel:
        yield controlplane_pb2_grpc.ControlPlaneStub(channel)


def refusal(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def health(stub: Any) -> Any:
    return stub.HealthCheck(empty_pb2.Empty(), timeout=10)


def _authority(app: App) -> tuple[x509.Certificate, Any]:
    secrets = app.folder / "secrets"
    key = serialization.load_pem_private_key((secrets / "ca.key").read_bytes(), None)
    return x509.load_pem_x509_certificate((secrets / "ca.pem").read_bytes()), key


OTHERS: list[tuple[list[str], list[str]]] = [
    (["spiffe://karst.local/svc/web"], ["web"]),
    (["spiffe://karst.local/ops/edge"], []),
    (["spiffe://karst.local/ops/admin"], ["ops-admin"]),
    (["spiffe://karst.local/ops/operator2"], []),
    (["spiffe://karst.local/ops/operator/"], []),
    (["spiffe://other.local/ops/operator"], []),
    ([OPERATOR, "spiffe://karst.local/svc/web"], []),
    ([OPERATOR], ["web"]),
    ([], ["operator"]),
    ([], []),
]


def test_every_call_is_refused_to_everybody_else_with_a_certificate_of_the_mesh(app: App) -> None:
    """Signed by the right authority, and yet not exactly the operator: PERMISSION_DENIED on each method there is."""
    authority = _authority(app)
    for uris, dns in OTHERS:
        with connected(app, forge.leaf(*authority, uris=uris, dns=dns)) as stub:
            calls = {
                "HealthCheck": lambda stub=stub: health(stub),
                "Deploy": lambda stub=stub: stub.Deploy(pb.DeployRequest(slugs=["gh:example/app"]), timeout=10),
                "StreamLogs": lambda stub=stub: list(stub.StreamLogs(pb.LogRequest(), timeout=10)),
                "StreamLogBatches": lambda stub=stub: list(stub.StreamLogBatches(pb.LogRequest(), timeout=10)),
            }
            assert set(calls) == {method.name for method in pb.DESCRIPTOR.services_by_name["ControlPlane"].methods}
            for call in calls.values():
                assert refusal(call).code() is grpc.StatusCode.PERMISSION_DENIED, (uris, dns)
    assert app.instance.runs.all() == []
    assert '"not_the_operator"' in (app.data / "audit.ndjson").read_text()


@pytest.mark.slow
def test_no_certificate_a_foreign_or_an_ended_one_get_no_connection(app: App) -> None:
    key = forge.new_key()
    foreign = forge.leaf(forge.authority("elsewhere", key), key, uris=[OPERATOR])
    ended = forge.leaf(*_authority(app), uris=[OPERATOR], end=dt.timedelta(seconds=-5))
    for pem in (b"", foreign, ended):
        with connected(app, pem) as stub:
            assert refusal(lambda stub=stub: health(stub)).code() is grpc.StatusCode.UNAVAILABLE
    channel = grpc.insecure_channel(f"127.0.0.1:{app.instance.grpc_port}")
    with channel:
        plain = controlplane_pb2_grpc.ControlPlaneStub(channel)
        assert refusal(lambda: health(plain)).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_the_server_shows_a_certificate_that_only_it_has(app: App) -> None:
    """Under the name ops-admin, which no service can have."""
    store = Store(app.folder / "secrets")
    shown = store.leaf(Identity.parse("ops/admin", network="iacnet", trust_domain="karst.local"))
    assert shown is not None
    assert shown.identity.dns == ("ops-admin",)
    with pytest.raises(KarstError):
        Identity.parse("ops-admin", network="iacnet", trust_domain="karst.local")


def test_deploy_waits_for_the_run_and_answers_with_each_services_health(app: App) -> None:
    """The same run as over HTTP: listed, with its events, in the audit log."""
    with connected(app) as stub:
        call = stub.Deploy.with_call(pb.DeployRequest(slugs=["gh:example/app"]), timeout=30)
    answer, details = call
    assert answer.exit_code == 0
    assert [(row.service, row.status, row.revision) for row in answer.results] == [("a", pb.HealthStatus.SERVING, "1")]
    assert dict(details.initial_metadata())["karst-run"] == answer.run
    run = app.call("GET", f"/v1/deploys/{answer.run}", role="viewer").json()
    assert (run["by"], run["by_name"], run["outcome"]) == (OPERATOR, "operator", "ok")
    records = [json.loads(line) for line in (app.data / "audit.ndjson").read_text().splitlines()]
    told = {(each["action"], each["actor"]) for each in records if each.get("run") == answer.run}
    assert told == {("run.start", OPERATOR), ("run.end", OPERATOR)}
    assert verify(app.data / "audit.ndjson").ok


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slugs", "code"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT),
        (["nonsense"], grpc.StatusCode.INVALID_ARGUMENT),
        (["gh:a/b#$(id)"], grpc.StatusCode.INVALID_ARGUMENT),
        (["gh:a/b", "gh:c/b"], grpc.StatusCode.INVALID_ARGUMENT),
        (["dir:/etc"], grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_deploy_goes_by_the_rules_of_http(slugs: list[str], code: grpc.StatusCode, app: App) -> None:
    with connected(app) as stub:
        error = refusal(lambda: stub.Deploy(pb.DeployRequest(slugs=slugs), timeout=10))
    assert (error.code(), app.instance.runs.all()) == (code, [])
    assert dict(error.trailing_metadata())["karst-code"]


@pytest.mark.slow
def test_deploy_while_another_run_is_under_way_names_the_holder(app: App, tmp_path: Path) -> None:
    run = app.start_run(WAIT_FOR=str(tmp_path / "go"))
    with connected(app) as stub:
        error = refusal(lambda: stub.Deploy(pb.DeployRequest(slugs=["gh:example/app"]), timeout=10))
    assert (error.code(), dict(error.trailing_metadata())["karst-holder"]) == (grpc.StatusCode.ABORTED, run)
    assert run in error.details()
    (tmp_path / "go").touch()
    app.wait_done(run)


@pytest.mark.slow
def test_a_client_that_gives_up_does_not_stop_its_deploy(start_app: Callable[..., App], tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 1\nexec {fake_command(tmp_path)} "$@"\n')
    slow.chmod(0o755)
    app = start_app(grpc_port=0, command=(str(slow),))
    with connected(app) as stub:
        call = stub.Deploy.future(pb.DeployRequest(slugs=["gh:example/app"]), timeout=30)
        run = dict(call.initial_metadata())["karst-run"]
        call.cancel()
    assert app.wait_done(run)["outcome"] == "ok"


@pytest.mark.slow
def test_health_is_the_worst_of_all_services_with_a_reason(app: App) -> None:
    with connected(app) as stub:
        answer = health(stub)
    assert (answer.status, answer.stack, answer.reason) == (pb.HealthStatus.SERVING, "test", "")
    cases = {
        ("SERVING", "COMPLETED"): pb.HealthStatus.SERVING,
        ("COMPLETED",): pb.HealthStatus.COMPLETED,
        ("SERVING", "STARTING"): pb.HealthStatus.STARTING,
        ("NOT_SERVING", "FAILED", "SERVING"): pb.HealthStatus.FAILED,
        ("SERVING", "UNREACHABLE", "NOT_SERVING"): pb.HealthStatus.UNKNOWN,
        (): pb.HealthStatus.SERVING,
    }
    for words, worst in cases.items():
        rows = [{"service": f"s{n}", "status": word, "reason": f"because {n}"} for n, word in enumerate(words)]
        found = summary(rows, "test")
        assert found.status == worst, words
        assert all(
            f"s{n}: {w}: because {n}" in found.reason
            for n, w in enumerate(words)
            if w.endswith("ING") is False and w != "COMPLETED"
        )


def test_logs_of_one_or_all_services_with_tail_since_and_follow(app: App) -> None:
    """Control characters are taken out, as everywhere."""
    app.stack.lines[2]["msg"] = "line\x1b[31m 2"
    since = timestamp_pb2.Timestamp()
    since.FromJsonString("2025-01-01T00:00:01Z")
    with connected(app) as stub:

        def said(**request: Any) -> list[str]:
            return [line.msg for line in stub.StreamLogs(pb.LogRequest(**request), timeout=10)]

        assert said() == said(service="web") == ["line 0", "line 1", "line 2"]
        assert said(tail=1) == ["line 2"]
        assert said(tail=0) == []
        assert said(since=since) == ["line 1", "line 2"]
        batches = list(stub.StreamLogBatches(pb.LogRequest(), timeout=10))
        assert [[line.msg for line in batch.lines] for batch in batches] == [["line 0", "line 1", "line 2"]]
        assert batches[0].lines[0].service == "web"
        assert batches[0].lines[1].ts.ToJsonString() == "2025-01-01T00:00:01Z"
        assert refusal(lambda: said(service="nobody")).code() is grpc.StatusCode.NOT_FOUND
        assert refusal(lambda: said(after_seq=4)).code() is grpc.StatusCode.INVALID_ARGUMENT
        following = stub.StreamLogBatches(pb.LogRequest(follow=True, tail=1), timeout=10)
        assert next(following).lines[0].msg == "line 2"
        streams = app.instance.context.streams["grpc"]
        assert streams.open == 1
        following.cancel()
        deadline = time.monotonic() + 5
        while streams.open and time.monotonic() < deadline:
            time.sleep(0.02)
        assert streams.open == 0


@pytest.mark.slow
def test_more_streams_than_the_limit_are_refused_and_questions_still_answered(start_app: Callable[..., App]) -> None:
    app = start_app(grpc_port=0, limits={"grpc_streams": 2})
    with connected(app) as stub:
        streams = [stub.StreamLogs(pb.LogRequest(follow=True), timeout=20) for _ in range(2)]
        for stream in streams:
            next(stream)
        third = refusal(lambda: next(stub.StreamLogs(pb.LogRequest(follow=True), timeout=10)))
        assert third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health(stub).status == pb.HealthStatus.SERVING
        for stream in streams:
            stream.cancel()


@pytest.mark.slow
def test_new_certificates_and_another_authority_are_taken_up_without_a_restart(app: App) -> None:
    """As the mesh does in a rotation: the files change, and the next handshake goes by them."""
    secrets = app.folder / "secrets"
    old = (secrets / "ca.pem").read_bytes()
    operator = (secrets / "operator.crt").read_bytes() + (secrets / "operator.key").read_bytes()
    (secrets / "ca.pem").unlink()
    (secrets / "ca.key").unlink()
    store = Store(secrets)
    with store.locked():
        store.ensure(store.known())
    with connected(app) as stub:
        assert health(stub).status == pb.HealthStatus.SERVING
    with connected(app, operator, old) as stub:
        assert refusal(lambda: health(stub)).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_a_port_that_somebody_has_is_refused_and_nothing_is_left_open(
    app: App, supabase: SupabaseStub, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    with pytest.raises(KarstError, match="somebody else does"):
        running(supabase, tmp_path / "second", grpc_port=app.instance.grpc_port)
    assert not (tmp_path / "second" / "admin.sock").exists()
    with connected(app) as stub:
        assert health(stub).status == pb.HealthStatus.SERVING


@pytest.mark.slow
def test_without_an_authority_the_app_starts_and_says_that_there_is_no_grpc(
    start_app: Callable[..., App], tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "ca.pem").write_text("only half")
    app = start_app(grpc_port=0)
    assert any(line.startswith("admin: no gRPC: ") for line in app.instance.describe())
    assert app.call("GET", "/health").status == 200


@pytest.mark.slow
def test_grpcurl_works_as_the_document_says(app: App) -> None:
    """The snippet of docs/admin.md, as it stands but for folder and port."""
    text = (ROOT / "docs" / "admin.md").read_text()
    snippet = text[text.index("grpcurl -cacert") :].partition("```")[0]
    assert "-authority ops-admin" in snippet
    program = tool("grpcurl")
    if program is None:
        pytest.skip("GRPCURL COULD NOT BE HAD: it needs Go and the Go module proxy")
    script = snippet.replace("grpcurl ", f"{program} ").replace("secrets/", f"{app.folder}/secrets/")
    script = script.replace("127.0.0.1:50052", f"127.0.0.1:{app.instance.grpc_port}")
    done = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert '"status": "SERVING"' in done.stdout, done.stderr
