"""What may change under load without a failed request: certificates, the authority, and the pod itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support import certificates as forge
from tests.support.kit import docker
from tests.support.mesh import Mesh, Pod, wait_until

pytestmark = pytest.mark.slow

# Through the caller's sidecar, as apps do: what may be repeated, and what may not.
GET = {"host": "127.0.0.1", "port": 15001, "url": "http://api/", "rate": 60}
POST = {**GET, "method": "POST", "body": "x"}
# Past it, with a handshake each time.
HANDSHAKE = {"host": "api", "port": 15000, "tls": True, "cert": "web.pem", "rate": 20}


def nothing_failed(answers: list[dict[str, Any]], seconds: float) -> None:
    for answer in answers:
        assert answer["failed"] == 0, answer
        assert answer["requests"] >= 20 * seconds


def started(mesh: Mesh) -> str:
    return docker(
        "inspect", "--format", "{{.State.StartedAt}}", *(mesh.name(f"sidecar-{one}") for one in ("web", "api"))
    )


def served(mesh: Mesh) -> str:
    """The certificate that `api` shows now."""
    fingerprint: str = mesh.knock("web.pem", "api")["served"]
    return fingerprint


def connections(mesh: Mesh, service: str) -> int:
    """How many the service's sidecar holds open, the one that asks included."""
    path = "/.karst/stats?filter=^http.inbound.downstream_cx_active$"
    return int(mesh.knock("ops-operator.pem", service, path=path)["body"].split()[-1])


def wait_for_another(mesh: Mesh, before: str) -> None:
    wait_until(lambda: served(mesh) != before, "the new certificate is not in use", seconds=5)


def test_a_renewed_leaf_is_in_use_without_a_restart_or_a_failed_request(changing: Mesh) -> None:
    before, since = served(changing), started(changing)
    seconds = 3.0
    with (
        changing.asking("app-web", {**GET, "seconds": seconds}, {**POST, "seconds": seconds}) as inside,
        changing.asking("neighbour", {**HANDSHAKE, "seconds": seconds}) as outside,
    ):
        time.sleep(0.5)
        for name in ("api", "web"):
            (changing.secrets / "mesh" / name / "svid.pem").unlink()
        changing.issue()
        wait_for_another(changing, before)
        nothing_failed(inside() + outside(), seconds)
    assert started(changing) == since


def test_the_authority_is_replaced_in_three_steps_without_a_failed_request(changing: Mesh) -> None:
    """Trust both, issue from the new one, drop the old one: then the old leaves are worthless."""
    key = forge.new_key()
    new = forge.pem(forge.authority("the next one", key))
    old = (changing.secrets / "ca.pem").read_bytes()
    since, seconds = started(changing), 5.0
    with changing.asking("app-web", {**GET, "seconds": seconds}, {**POST, "seconds": seconds}) as inside:
        (changing.secrets / "ca.pem").write_bytes(old + new)
        changing.issue()
        time.sleep(1)
        before = served(changing)
        (changing.secrets / "ca.key").write_bytes(forge.pem(key))
        changing.issue()
        changing.put("ca.pem", old + new)
        wait_for_another(changing, before)
        (changing.secrets / "ca.pem").write_bytes(new)
        changing.issue()
        wait_until(lambda: "error" in changing.knock("web.pem", "api"), "the old authority still counts", seconds=5)
        changing.hand_out("web", "api")
        assert changing.knock("web.pem", "api")["status"] == 200
        nothing_failed(inside(), seconds)
    assert started(changing) == since


def test_a_pod_is_replaced_under_load_without_a_failed_request(changing: Mesh) -> None:
    """The new generation beside the old one, then SIGTERM to the old sidecar: it drains, then everything of it goes.

    The load comes from another service, and from the host through the edge, by a new TLS connection for each request.
    """
    changing.call("web", "http://api/")
    changing.hand_out("api", "web")
    new, seconds = Pod("api", generation="-new", port=7000), 10.0
    door = {**HANDSHAKE, "host": "127.0.0.1", "port": changing.port(15000), "name": "api"}
    with (
        changing.asking("app-web", {**GET, "seconds": seconds}, {**POST, "seconds": seconds}) as inside,
        changing.asking("", {**door, "seconds": seconds}) as outside,
    ):
        with changing.asking("app-web", {**GET, "url": "http://api/slow?3", "seconds": 0.1, "rate": 10}) as under_way:
            changing.add([new])
            changing.await_ready(new)
            docker("stop", "--time", "20", changing.name("sidecar-api"))
            [answer] = under_way()
            assert answer["failed"] == 0, answer
        time.sleep(1)  # as between Terraform's removals: the name still leads to the pod that has stopped
        docker("rm", "--force", *(changing.name(f"{role}-api") for role in ("app", "pod")))
        nothing_failed(inside() + outside(), seconds)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", changing.name("sidecar-api")) == "0"


def test_a_drained_pod_stays_up_out_of_rotation_and_then_stops_at_once(changing: Mesh) -> None:
    """That is how the gate retires an old generation: by `drain`, before Terraform removes it."""
    sidecar = changing.name("sidecar-web")
    docker("exec", sidecar, "/opt/karst/drain", "0")
    assert changing.knock("api.pem", "web", path="/.karst/ready")["status"] == 503
    assert changing.knock("api.pem", "web")["status"] == 200, "what still arrives is still answered"
    # Two checks later its callers know, and go on all the same: there is no other pod.
    assert changing.call("web", "http://web/")["status"] == 200
    time.sleep(5)
    assert changing.call("web", "http://web/", method="POST", body="x")["status"] == 200
    begin = time.monotonic()
    docker("stop", "--time", "20", sidecar)
    assert time.monotonic() - begin < 2


def test_a_stolen_leaf_is_refused_once_its_authority_is_dropped_and_its_open_connection_ends(changing: Mesh) -> None:
    """The thief keeps a connection open, whatever the server says of closing. The hour is two seconds here."""
    lived = {"max_connection_duration: 3600s": "max_connection_duration: 2s"}
    changing.add([Pod("vault", edits=lived)])
    changing.hand_out("vault", "ops-operator")  # of the authority that the tests before may have left
    changing.await_ready(changing.pods["vault"])
    changing.put("stolen.pem", (changing.secrets / "mesh" / "web" / "svid.pem").read_bytes())
    held = {"host": "vault", "port": 15000, "cert": "stolen.pem", "hold": 30.0}
    before = connections(changing, "vault")
    with changing.asking("neighbour", held) as pending:
        wait_until(lambda: connections(changing, "vault") > before, "the thief does not get in")
        for file in ("ca.pem", "ca.key"):
            (changing.secrets / file).unlink()
        changing.issue()
        changing.put("ca.pem", (changing.secrets / "ca.pem").read_bytes())
        wait_until(lambda: "error" in changing.knock("stolen.pem", "vault"), "the stolen leaf is let in", seconds=5)
        changing.hand_out("vault")
        assert changing.knock("vault.pem", "vault")["status"] == 200
        [answer] = pending()
    assert answer["answered"] > 3
    assert answer["lived"] < 15, answer
