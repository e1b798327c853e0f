"""`iac drift` beside what people really do to a host: each thing is told, and so is all that Terraform would change."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from karst.files import locked, write_atomic
from karst.identity.store import CONTAINER_UID
from tests.integration.conftest import HELLO
from tests.support import certificates as forge
from tests.support.images import base
from tests.support.kit import ROOT, Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("drift")]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("drift"), env={"TOKEN": "one"})
    for name in ("hello", "other"):
        (kit.home / name).mkdir()
        (kit.home / name / "main.py").write_text(f"# {name}\n{HELLO}")
    kit.write_list([{"slug": "dir:hello", "secrets": ["TOKEN"]}, "dir:other"])
    kit.deploy()
    yield kit
    kit.destroy()


def member(kit: Kit, role: str, service: str = "hello") -> str:
    """Id of the service's container of that role."""
    return next(row["Id"] for row in kit.containers(service) if row["Config"]["Labels"]["karst.role"] == role)


def drift(kit: Kit) -> set[str]:
    """What differs, as `service:code`; the exit code has to agree."""
    done = kit.iac("drift", "--json", check=None)
    assert done.returncode in (0, 2), done.stderr
    said = json.loads(done.stdout)
    assert said["drift"] is (done.returncode == 2) is bool(said["differences"])
    assert said["compared_with"] == "state"
    return {f"{one['service']}:{one['code']}" for one in said["differences"]}


def planned(kit: Kit) -> int:
    """2 when Terraform would change something."""
    return kit.iac("plan", "--detailed-exitcode", check=None).returncode


@pytest.mark.parametrize("unit", ["backup", "certs", "drift", "heal", "prune"])
def test_what_a_timer_runs_works_on_a_real_stack(
    kit: Kit, unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the unit, with the checkout's folder in the place of /opt/karstkit."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    monkeypatch.setitem(kit.env, "KARST_BACKUP_PASSPHRASE_FILE", str(passphrase))
    lines = (ROOT / "docs" / "systemd" / f"karst-{unit}.service").read_text().splitlines()
    commands = [line.partition("=")[2].split() for line in lines if line.startswith("ExecStart=")]
    assert commands
    for program, *arguments in commands:
        assert program == "/opt/karstkit/admin/iac"
        kit.iac(*arguments)


def test_after_a_deploy_nothing_differs(kit: Kit) -> None:
    done = kit.iac("drift")
    assert done.stdout == "no drift\n"


def test_a_limit_that_was_changed_by_hand_is_told_until_it_is_set_back(kit: Kit) -> None:
    limits = ("--memory", "64m", "--memory-swap", "64m", "--restart", "no", "--pids-limit", "500")
    kit.docker("update", *limits, member(kit, "sidecar"))
    said = kit.iac("drift", check=2).stdout
    assert "hello: its sidecar was changed by hand: memory is 64 MiB instead of 256" in said
    assert said.endswith("1 difference\n")
    assert drift(kit) == {"hello:drift"}
    kit.iac("heal")
    assert drift(kit) == set()


def test_a_processor_limit_is_told(kit: Kit) -> None:
    kit.docker("update", "--cpus", "0.5", member(kit, "app"))
    assert drift(kit) == {"hello:drift"}
    assert planned(kit) == 2
    assert "run `iac deploy --refresh`" in kit.iac("drift", check=2).stdout
    pods = kit.pods()
    kit.iac("deploy", "--file", str(kit.list_file), "--refresh")
    assert drift(kit) == set()
    assert {name for name, pod in kit.pods().items() if pod != pods[name]} == {"hello"}


def test_a_removed_container_is_told_and_comes_back_by_a_deploy(kit: Kit) -> None:
    kit.docker("rm", "--force", member(kit, "app"))
    assert drift(kit) == {"hello:member_missing"}
    assert planned(kit) == 2
    kit.deploy()
    assert drift(kit) == set()


def test_a_pod_and_an_edge_off_their_network_are_told(kit: Kit) -> None:
    network = f"iacnet-{kit.stack}"
    kit.docker("network", "disconnect", "--force", network, member(kit, "pod"))
    assert "hello:detached" in drift(kit)
    kit.docker("network", "disconnect", "--force", network, f"{kit.stack}-edge")
    assert ":edge_detached" in drift(kit)
    kit.iac("heal")
    assert drift(kit) == set()
    assert planned(kit) == 0


def test_whoever_joined_the_network_is_told(kit: Kit) -> None:
    network, name = f"iacnet-{kit.stack}", f"{kit.stack}-visitor"
    kit.docker("run", "--detach", "--name", name, "--network", network, base(), "sleep", "600")
    kit.docker("network", "connect", "bridge", member(kit, "pod", "other"))
    try:
        assert drift(kit) == {":stranger", "other:other_network"}
    finally:
        kit.docker("rm", "--force", name)
        kit.docker("network", "disconnect", "bridge", member(kit, "pod", "other"))
    assert drift(kit) == set()


def test_containers_with_our_labels_are_told_once(kit: Kit) -> None:
    """One that looks like a member of a service, one of a service that nobody deployed, one that looks like nothing."""
    labels = [f"karst.stack={kit.stack}"]
    for more in (["karst.service=hello", "karst.role=pod"], ["karst.service=ghost", "karst.role=app"], []):
        kit.docker("create", *(word for one in [*labels, *more] for word in ("--label", one)), base(), "true")
    assert "ghost" not in kit.health()
    said = json.loads(kit.iac("drift", "--json", check=2).stdout)["differences"]
    assert sorted(one["code"] for one in said) == ["leftover", "unknown_container", "unknown_container"]
    for one in said:
        kit.docker("rm", one["container"])
    assert drift(kit) == set()


def test_an_image_that_was_removed_or_replaced_is_told(kit: Kit) -> None:
    images = {name: kit.docker("inspect", "--format", "{{.Image}}", member(kit, "app", name)) for name in kit.pods()}
    tags = {name: json.loads(kit.docker("inspect", image))[0]["RepoTags"][0] for name, image in images.items()}
    kit.docker("tag", base(), tags["hello"])
    kit.docker("rmi", "--no-prune", "--force", tags["other"])
    assert drift(kit) == {"hello:image_retagged", "other:image_missing"}
    assert planned(kit) == 2
    kit.docker("rmi", "--no-prune", tags["hello"])  # as the line says: Terraform would start what has the tag
    kit.iac("deploy", "--file", str(kit.list_file), "--refresh")
    assert drift(kit) == set()


def test_a_secret_that_was_changed_on_the_disk_is_told(kit: Kit) -> None:
    path = kit.secrets_dir / "app" / "hello" / "TOKEN"
    write_atomic(path, "two", mode=0o400, owner=(CONTAINER_UID, CONTAINER_UID))
    assert drift(kit) == {"hello:secrets_changed"}
    kit.deploy()
    assert path.read_text() == "one"
    assert drift(kit) == set()


def test_a_certificate_near_its_end_is_told(kit: Kit) -> None:
    authority = x509.load_pem_x509_certificate((kit.secrets_dir / "ca.pem").read_bytes())
    key = load_pem_private_key((kit.secrets_dir / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    hour = dt.timedelta(hours=1)
    names = {"uris": ["spiffe://karst.local/svc/hello"], "dns": ["hello", f"hello.iacnet-{kit.stack}"]}
    nearly = forge.leaf(authority, key, begin=-9 * hour, end=hour, **names)
    owner = (CONTAINER_UID, CONTAINER_UID)
    write_atomic(kit.secrets_dir / "mesh" / "hello" / "svid.pem", nearly, mode=0o600, owner=owner)
    assert "hello:certificate_due" in drift(kit)
    kit.iac("certs", "renew")
    kit.iac("heal")
    assert drift(kit) == set()


def test_an_edited_list_and_a_moved_folder_are_a_plans_business(kit: Kit) -> None:
    main = kit.home / "other" / "main.py"
    main.write_text(f"# changed\n{HELLO}")
    assert drift(kit) == set()
    assert planned(kit) == 2
    main.write_text(f"# other\n{HELLO}")


def test_it_holds_nobody_up_and_names_who_is_at_work(kit: Kit) -> None:
    with locked(kit.home / "state" / kit.stack / "lock"):
        done = kit.iac("drift", check=3)
    assert f"stack `{kit.stack}` is busy" in done.stderr


def test_without_anything_to_compare_it_is_an_error(kit: Kit) -> None:
    done = kit.iac("--stack", "nowhere", "drift", check=1)
    assert "nothing is recorded of stack `nowhere`" in done.stderr
    done = kit.iac("--stack", "No Stack", "drift", check=1)
    assert "is not a stack name" in done.stderr
