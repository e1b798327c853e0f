"""`iac health` and `iac heal` on an engine that is stopped, killed and cut off power: after it, the plan is empty."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from karst.files import locked, write_atomic
from karst.identity.store import CONTAINER_UID
from tests.integration.conftest import HELLO
from tests.support import certificates as forge
from tests.support.engine import Engine
from tests.support.images import base
from tests.support.kit import Kit
from tests.support.mesh import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("engine")]

SERVICES = ("hello", "other")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.borrowed() as borrowed:
        yield borrowed


@pytest.fixture(scope="module")
def kit(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("heal"), engine=engine)
    for name in SERVICES:
        (kit.home / name).mkdir()
        (kit.home / name / "main.py").write_text(HELLO)
    kit.write_list([f"dir:{name}" for name in SERVICES])
    kit.deploy()
    yield kit
    kit.destroy()


def member(kit: Kit, role: str, service: str = "hello") -> str:
    """Id of the service's container of that role."""
    [found] = [row["Id"] for row in kit.containers(service) if row["Config"]["Labels"]["karst.role"] == role]
    return str(found)


def findings(kit: Kit, check: int = 5) -> set[str]:
    """Codes of what `iac health` finds about `hello` and the stack."""
    return {one["code"] for one in kit.health(check=check)["hello"]["findings"]}


def heal(kit: Kit) -> list[str]:
    """Heal, see that all is well and that Terraform agrees; return the steps in their order."""
    said = json.loads(kit.iac("heal", "--json").stdout)
    assert {row["service"]: row["status"] for row in said["services"]} == dict.fromkeys(SERVICES, "SERVING")
    assert said["findings"] == said["failed"] == []
    assert all(row["findings"] == [] for row in kit.health().values())
    kit.iac("plan", "--detailed-exitcode")
    return [f"{step['action']} {step['role'] or step['name']}" for step in said["steps"]]


def all_serve(kit: Kit) -> bool:
    return kit.iac("health", check=None).returncode == 0


@pytest.mark.parametrize("accident", ["stop", "kill", "power_off"])
def test_after_a_restart_of_the_engine_every_service_serves_and_the_plan_is_empty(
    kit: Kit, engine: Engine, accident: str
) -> None:
    """Clean; engine, containerd and shims killed; the machine's power cut.

    Docker starts a pod's members side by side, and does not try again to start one that came before its pod: that is
    what `iac heal` has to find.
    """
    getattr(engine, accident)()
    if accident == "power_off":
        engine.power_on()
    else:
        engine.start()
    assert set(heal(kit)) <= {"restart pod", "restart app", "restart sidecar", "restart edge"}


@pytest.mark.parametrize("role", ["app", "sidecar", "pod"])
def test_a_killed_member_comes_back_without_help(kit: Kit, engine: Engine, role: str) -> None:
    """The pod's network dies with it: app and sidecar notice, and start again in the new one."""
    engine.kill_container(member(kit, role))
    time.sleep(1)
    wait_until(lambda: all_serve(kit), f"not well after its {role} was killed", seconds=60)
    assert heal(kit) == []


def test_members_whose_network_died_are_told_and_restarted_in_order(kit: Kit, engine: Engine) -> None:
    """Docker says "running" of both."""
    engine.docker("restart", "--time", "0", member(kit, "pod"))
    row = next(row for row in kit.containers("hello") if row["Id"] == member(kit, "sidecar"))
    assert row["State"]["Status"] == "running"
    assert findings(kit) == {"orphaned"}
    assert heal(kit) == ["restart app", "restart sidecar"]


def test_a_pod_that_was_stopped_takes_its_members_along(kit: Kit, engine: Engine) -> None:
    engine.docker("stop", "--time", "0", member(kit, "pod"))
    assert findings(kit) == {"member_stopped", "orphaned"}
    would = kit.iac("heal", "--dry-run", check=5).stdout
    assert [line.split("-")[1] for line in would.splitlines() if line.startswith("would")] == ["pod", "app", "sidecar"]
    assert heal(kit) == ["restart pod", "restart app", "restart sidecar"]


def test_the_edge_is_brought_back(kit: Kit, engine: Engine) -> None:
    engine.docker("stop", "--time", "0", f"{kit.stack}-edge")
    assert "edge_down" in findings(kit)
    assert heal(kit) == ["restart edge"]


def test_a_pod_that_left_the_network_is_connected_under_its_name(kit: Kit, engine: Engine) -> None:
    engine.docker("network", "disconnect", "--force", f"iacnet-{kit.stack}", member(kit, "pod"))
    assert findings(kit) == {"detached"}
    assert heal(kit)[0] == "connect pod"


def test_limits_that_were_changed_by_hand_are_set_back(kit: Kit, engine: Engine) -> None:
    wait_until(lambda: all_serve(kit), "not well", seconds=60)  # members notice a lost network seconds later
    engine.docker("update", "--restart", "no", "--memory", "64m", "--memory-swap", "64m", member(kit, "sidecar"))
    assert findings(kit, check=0) == {"drift"}
    assert heal(kit) == ["update sidecar"]


def test_an_expired_certificate_is_told_and_renewed(kit: Kit) -> None:
    """It is in use, too: nobody can be reached any more."""
    authority = x509.load_pem_x509_certificate((kit.secrets_dir / "ca.pem").read_bytes())
    key = load_pem_private_key((kit.secrets_dir / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    hour = dt.timedelta(hours=1)
    names = {"uris": ["spiffe://karst.local/svc/hello"], "dns": ["hello", f"hello.iacnet-{kit.stack}"]}
    expired = forge.leaf(authority, key, begin=-2 * hour, end=-hour, **names)
    path = kit.secrets_dir / "mesh" / "hello" / "svid.pem"
    write_atomic(path, expired, mode=0o600, owner=(CONTAINER_UID, CONTAINER_UID))
    wait_until(lambda: kit.health(check=None)["hello"]["status"] == "UNREACHABLE", "the old one is still shown")
    assert "certificate_expired" in findings(kit)
    assert heal(kit) == ["renew hello"]


def test_a_sidecar_that_does_not_see_its_new_files_is_restarted(kit: Kit) -> None:
    """The folder was made anew: the mount is still of the old one."""
    shutil.rmtree(kit.secrets_dir / "mesh" / "hello")
    assert "certificate_missing" in findings(kit)
    assert heal(kit) == ["renew hello", "restart sidecar"]


def test_what_no_state_knows_is_removed(kit: Kit, engine: Engine) -> None:
    labels = ("--label", f"karst.stack={kit.stack}", "--label", "karst.service=hello", "--label", "karst.role=pod")
    engine.docker("create", *labels, base(), "true")
    assert findings(kit, check=0) == {"leftover"}
    assert heal(kit) == ["remove pod"]


def test_what_is_gone_is_left_to_a_deploy_which_says_so(kit: Kit, engine: Engine) -> None:
    engine.docker("rm", "--force", member(kit, "sidecar"))
    done = kit.iac("heal", "hello", check=5)
    assert "hello: its sidecar container is gone; run `iac deploy`" in done.stdout
    kit.deploy()
    assert heal(kit) == []


def test_an_older_generation_that_serves_in_place_of_a_bad_one_is_kept(kit: Kit) -> None:
    kit.env["KARST_GATE_TIMEOUT"] = "6"
    (kit.home / "hello" / "main.py").write_text("raise SystemExit(3)\n")
    kit.deploy(check=5)
    before = {row["Id"] for row in kit.containers("hello")}
    assert findings(kit, check=0) == {"older_serves"}
    assert "what was left of an older one is kept; run `iac deploy`" in kit.iac("heal").stdout
    assert {row["Id"] for row in kit.containers("hello")} == before
    (kit.home / "hello" / "main.py").write_text(HELLO)
    kit.deploy()
    assert heal(kit) == []


def test_a_stack_that_somebody_works_on_is_not_healed(kit: Kit) -> None:
    with locked(kit.home / "state" / kit.stack / "lock"):
        done = kit.iac("heal", check=3)
    assert f"stack `{kit.stack}` is busy" in done.stderr
