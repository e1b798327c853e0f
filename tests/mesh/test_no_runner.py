"""A pod whose app has no runner: the sidecar answers for its health, through the real Envoy and over mTLS."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from karst.probe import Client, Unreachable
from tests.support.kit import docker
from tests.support.mesh import Mesh, Pod, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

WHO = {"KARST_SERVICE": "web", "KARST_STACK": "s", "KARST_REVISION": "dir-1", "KARST_HEALTH": "/"}
# The image has no pkill.
KILL = "for p in /proc/[0-9]*; do grep -q karst/answe[r] $p/cmdline && kill ${p#/proc/}; done; true"


def test_health_is_answered_in_grpc_and_streams_are_not(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    try:
        mesh.up([Pod("web", variables={"runner": False, "health": "/"}, environment={"KARST_ANSWER": "1", **WHO})])
        address = ("127.0.0.1", mesh.port(15000))
        with Client("web", address=address, secrets_dir=mesh.secrets) as client:
            health = client.health()
            assert (health.status, health.app_port, health.kind) == ("SERVING", 8000, "server")
            assert (health.revision, health.stack, health.since_ns > 0) == ("dir-1", "s", True)
            standard = health_pb2_grpc.HealthStub(client._channel)  # type: ignore[no-untyped-call]
            answer = standard.Check(health_pb2.HealthCheckRequest(service="web"), timeout=2)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as refused:
                next(standard.Watch(health_pb2.HealthCheckRequest(), timeout=2))
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert "this app has no runner" in str(refused.value.details())
            with pytest.raises(Unreachable, match="not as a runner of this kit"):
                list(client.logs())

            docker("exec", mesh.name("sidecar-web"), "sh", "-c", KILL)
            wait_until(lambda: _status(address, mesh) == "SERVING", "the one who answers is started again")
            docker("kill", mesh.name("app-web"))
            wait_until(
                lambda: _status(address, mesh) == "NOT_SERVING", "an app that is gone is told at once", seconds=5
            )
    finally:
        mesh.close()


def _status(address: tuple[str, int], mesh: Mesh) -> str:
    with Client("web", address=address, secrets_dir=mesh.secrets) as client:
        try:
            return client.health().status
        except Unreachable:
            return ""
