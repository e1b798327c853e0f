"""`iac certs` on a stack that runs: what is in use, and new leaves without a restart."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import threading
import time
import urllib.request
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support import certificates as forge
from tests.support.kit import IAC, Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]


def listed(kit: Kit, *arguments: str) -> dict[str, dict[str, Any]]:
    answer = json.loads(kit.iac("certs", *arguments, "--json").stdout)
    return {row["name"]: row for row in answer["identities"]}


def test_each_running_envoy_is_asked_for_the_certificate_it_uses(kit: Kit) -> None:
    """`--check` ends with 0: all is as it should be."""
    rows = listed(kit, "--check")
    assert {name: row["served"] for name, row in rows.items()} == {
        "hello": "yes",
        "caller": "yes",
        "job": "yes",
        "ops/edge": "yes",
        "ops/operator": "-",
    }


@pytest.mark.slow
def test_new_leaves_are_in_use_at_once_and_nothing_is_restarted(kit: Kit) -> None:
    before, running = listed(kit), {row["Id"]: row["State"]["StartedAt"] for row in kit.containers()}
    after = listed(kit, "rotate", "hello", "edge")
    assert {name for name in after if after[name]["serial"] != before[name]["serial"]} == {"hello", "ops/edge"}
    assert {row["served"] for row in after.values()} == {"yes", "-"}
    assert {row["Id"]: row["State"]["StartedAt"] for row in kit.containers()} == running
    kit.health()


@pytest.mark.slow
def test_a_deploy_in_which_nothing_changed_renews_what_is_due(kit: Kit) -> None:
    """Also where a deploy takes a shorter way because nothing changed."""
    issuer = x509.load_pem_x509_certificate((kit.secrets_dir / "ca.pem").read_bytes())
    key = load_pem_private_key((kit.secrets_dir / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    names = {"uris": ["spiffe://karst.local/svc/hello"], "dns": ["hello", "hello.iacnet-" + kit.stack]}
    due = forge.leaf(issuer, key, **names, begin=-2 * dt.timedelta(hours=1), end=dt.timedelta(minutes=30))
    pods = kit.pods()
    (kit.secrets_dir / "mesh" / "hello" / "svid.pem").write_bytes(due)
    kit.iac("certs", "--check", check=5)
    assert "third of its lifetime" in listed(kit)["hello"]["due"]
    kit.deploy()
    row = listed(kit, "--check")["hello"]
    assert (row["due"], row["served"]) == ("", "yes")
    assert kit.pods() == pods


@pytest.mark.slow
def test_a_sidecar_that_does_not_answer_stops_the_change_of_the_authority_where_it_goes_on_later(kit: Kit) -> None:
    """Nothing is issued from an authority that somebody may not trust yet, and a deploy in between is right."""
    [sidecar] = [row["Id"] for row in kit.containers("hello") if row["Config"]["Labels"]["karst.role"] == "sidecar"]
    key = (kit.secrets_dir / "ca.key").read_bytes()
    docker("exec", sidecar, "sh", "-c", "kill -STOP -1")  # Envoy, and the script's other processes
    try:
        said = kit.iac("certs", "rotate", "--ca", "--yes", "--timeout", "2", check=1).stderr
        assert "does not use its new files" in said
        assert (kit.secrets_dir / "ca.key").read_bytes() == key
        assert "stands at `trust`" in kit.iac("certs", "--check", check=5).stderr
    finally:
        docker("exec", sidecar, "sh", "-c", "kill -CONT -1")
    kit.deploy()
    before = listed(kit)
    after = listed(kit, "rotate", "--ca", "--yes")
    assert not {row["issuer"] for row in before.values()} & {row["issuer"] for row in after.values()}
    assert {row["served"] for row in after.values()} == {"yes", "-"}
    kit.iac("certs", "--check")
    kit.health()


@pytest.mark.slow
def test_killed_again_and_again_the_change_of_the_authority_ends_well_and_no_request_fails(kit: Kit) -> None:
    """SIGKILL at other moments each time, while the front door is asked all the time."""
    before, failed, asked = listed(kit), [], 0
    stop = threading.Event()

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            asked += 1
            url = f"http://127.0.0.1:{kit.ports['front_door']}/"
            try:
                urllib.request.urlopen(
                    urllib.request.Request(url, headers={"Host": "caller.localhost"}), timeout=10
                ).read()
            except OSError as err:
                failed.append(str(err))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for wait in (0.3, 0.6, 0.4, 0.8, 0.5):
            process = subprocess.Popen(
                [IAC, "certs", "rotate", "--ca", "--yes"],
                env={**os.environ, **kit.env},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(wait)
            process.kill()
            process.wait()
        after = listed(kit, "rotate", "--ca", "--yes")
    finally:
        stop.set()
        asking.join()
    assert failed == []
    assert asked > 50
    assert not {row["issuer"] for row in before.values()} & {row["issuer"] for row in after.values()}
    assert not (kit.secrets_dir / "rotation").exists()
