"""What is sent to which container, without an engine: which volumes count, and that nothing is sent twice."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from karst import deliver
from karst.containers import Member
from karst.deliver import Parcel
from karst.errors import KarstError


class FakeApi:
    """An engine whose containers are folders in memory, with `take` as the image has it."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, bytes]] = {}
        self.commands: list[list[str]] = []
        self.uploads = 0

    def put_archive(self, container: str, folder: str, data: bytes) -> bool:
        self.uploads += 1
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                assert (entry.mode, entry.uid) == (0o400, 10001)
                part = archive.extractfile(entry)
                assert part is not None
                self.held.setdefault(folder, {})[entry.name] = part.read()
        return True

    def exec_create(self, container: str, command: list[str], *, user: str) -> dict[str, str]:
        assert user == "10001:10001"
        self.commands.append(command)
        assert command[0] == "/opt/karst/take"
        here = self.held[command[1]]
        for name in command[3:]:
            here[name] = here.pop(f".{name}.{command[2]}")
        for old in set(here) - set(command[3:]):
            del here[old]
        here[".delivered"] = b""
        return {"Id": "x"}

    def get_archive(self, container: str, folder: str) -> tuple[list[bytes], dict[str, str]]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, body in self.held.get(folder, {}).items():
                entry = tarfile.TarInfo(f"{folder.strip('/')}/{name}")
                entry.size = len(body)
                archive.addfile(entry, io.BytesIO(body))
        return [buffer.getvalue()], {}

    def exec_start(self, identifier: str) -> bytes:
        return b""

    def exec_inspect(self, identifier: str) -> dict[str, int]:
        return {"ExitCode": 0}


class Fake:
    def __init__(self) -> None:
        self.api = FakeApi()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    for name in ("web", "ops-edge"):
        folder = tmp_path / "mesh" / name
        folder.mkdir(parents=True)
        (folder / "svid.pem").write_text(f"key of {name}")
        (folder / "ca.pem").write_text("trust")
    (tmp_path / "app" / "web").mkdir(parents=True)
    (tmp_path / "app" / "web" / "TOKEN").write_text("t0p")
    return tmp_path


def _member(role: str, *mounts: str, state: str = "running", service: str = "web") -> Member:
    return Member(f"{service}-{role}", f"{service}-{role}", service, role, "", "", state, 0, "", mounts=mounts)


def test_only_running_holders_of_such_a_volume_are_sent_anything(secrets: Path) -> None:
    """A sidecar mounts it read-only; a pod of a stack that mounts folders has none; a stopped one is filled later."""
    found = deliver.parcels(
        [
            _member("pod", "/secrets", "/app-secrets"),
            _member("sidecar", "/secrets"),
            _member("pod", service="local"),
            _member("pod", "/secrets", state="exited", service="stopped"),
            _member("edge", "/secrets", service="edge"),
            _member("keeper", "/secrets", service="edge"),
        ],
        secrets,
    )
    assert [(one.container, one.service) for one in found] == [("web-pod", "web"), ("edge-keeper", "ops/edge")]
    assert [one.secrets for one in found] == [secrets / "app" / "web", None]


def test_a_pod_without_a_volume_for_secrets_is_sent_none(secrets: Path) -> None:
    """They would land in the container's own layer, on the disk of that host."""
    [parcel] = deliver.parcels([_member("pod", "/secrets")], secrets)
    assert set(parcel.files()) == {"/secrets"}


def test_what_is_there_already_is_not_sent_again_and_what_changed_is(secrets: Path) -> None:
    docker: Any = Fake()
    parcel = Parcel("web-pod", "web", secrets / "mesh" / "web", secrets / "app" / "web")
    assert deliver.deliver(docker, [parcel]) == [parcel]
    assert docker.api.held["/secrets"] == {"ca.pem": b"trust", "svid.pem": b"key of web", ".delivered": b""}
    assert docker.api.held["/app-secrets"] == {"TOKEN": b"t0p", ".delivered": b""}
    assert deliver.deliver(docker, [parcel]) == []
    (secrets / "mesh" / "web" / "svid.pem").write_text("renewed")
    assert deliver.missing(docker, [parcel]) == [parcel]
    deliver.deliver(docker, [parcel])
    assert docker.api.held["/secrets"]["svid.pem"] == b"renewed"


def test_whom_to_trust_comes_before_the_certificate_and_no_argument_holds_a_key(secrets: Path) -> None:
    docker: Any = Fake()
    deliver.deliver(docker, [Parcel("web-pod", "web", secrets / "mesh" / "web", secrets / "app" / "web")])
    take = next(command for command in docker.api.commands if command[0] == "/opt/karst/take")
    assert take[:2] + take[3:] == ["/opt/karst/take", "/secrets", "ca.pem", "svid.pem"]
    assert not [word for command in docker.api.commands for word in command if "key of web" in word or "t0p" in word]


def test_a_failed_delivery_names_the_service_and_the_reason(secrets: Path) -> None:
    docker: Any = Fake()
    docker.api.exec_inspect = lambda _identifier: {"ExitCode": 1}
    docker.api.exec_start = lambda _identifier: b"mv: No space left on device\n"
    with pytest.raises(KarstError, match="web: its keys could not be put in place: mv: No space left on device"):
        deliver.deliver(docker, [Parcel("web-pod", "web", secrets / "mesh" / "web")])


def test_a_missing_identity_is_named(tmp_path: Path) -> None:
    docker: Any = Fake()
    with pytest.raises(KarstError, match=r"cannot read .*ca\.pem: No such file"):
        deliver.deliver(docker, [Parcel("web-pod", "web", tmp_path / "mesh" / "web")])
