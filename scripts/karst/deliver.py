"""Brings keys and secrets into containers whose host is not this machine: over Docker's API, into a volume.

The volume is held by the pod's container (the edge's by its keeper), which alone may write it; sidecar and app mount it
read-only. Files arrive under names that nobody reads and get their own by rename (image/sidecar/take), so that Envoy
takes a renewed certificate at the next handshake, and nobody sees half of it. Nothing of them is an argument, a
variable, a label or a log line; and with a volume in memory nothing touches that host's disk.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst import containers
from karst.containers import Member
from karst.errors import KarstError, UsageError
from karst.identity.names import folder as folder_of
from karst.identity.store import CONTAINER_UID

KEYS, APP_SECRETS = "/secrets", "/app-secrets"
DELIVERED = ".delivered"
#: In this order: an Envoy that has its certificate has whom to trust, too.
_KEY_FILES = ("ca.pem", "svid.pem")
_THREADS = 8


@dataclass(frozen=True)
class Parcel:
    """What one container is to hold.

    Attributes:
        container: id of the pod's container, or of the edge's keeper.
        service: whose; ``ops/edge`` for the edge's.
        keys: folder with the identity, on this machine.
        secrets: folder with the app's secrets, or None where there are none to bring.
    """

    container: str
    service: str
    keys: Path
    secrets: Path | None = None

    def files(self) -> dict[str, dict[str, bytes]]:
        """Folder in the container → name → content; KarstError when there is nothing to bring."""
        found = {KEYS: {name: _read(self.keys / name) for name in _KEY_FILES}}
        if self.secrets is not None:
            paths = sorted(path for path in self.secrets.iterdir() if not path.name.startswith("."))
            found[APP_SECRETS] = {path.name: _read(path) for path in paths}
        return found


def parcels(members: Iterable[Member], secrets_dir: Path) -> list[Parcel]:
    """For each running container among ``members`` that holds such a volume: what it is to hold."""
    found = []
    for member in members:
        if member.role not in ("pod", "keeper") or KEYS not in member.mounts or member.state != "running":
            continue
        name = "ops/edge" if member.role == "keeper" else member.service
        app = secrets_dir / "app" / name if APP_SECRETS in member.mounts else None
        found.append(Parcel(member.id, name, secrets_dir / "mesh" / folder_of(name), app))
    return found


def missing(docker: Any, wanted: Sequence[Parcel]) -> list[Parcel]:
    """Those that do not hold exactly what they are to hold."""
    return _each(lambda parcel: None if _holds(docker, parcel) else parcel, wanted)


def deliver(docker: Any, wanted: Sequence[Parcel]) -> list[Parcel]:
    """Bring what is missing, and return the parcels that were; raises KarstError naming the first that could not be."""

    def one(parcel: Parcel) -> Parcel | None:
        if _holds(docker, parcel):
            return None
        for folder, files in parcel.files().items():
            _bring(docker, parcel, folder, files)
        return parcel

    return _each(one, wanted)


def to_stack(docker: Any, stack: str, secrets_dir: Path) -> list[Parcel]:
    """Bring every running container of the stack what it lacks; of one that mounts a folder there is nothing to do."""
    return deliver(docker, parcels(containers.members(docker, stack), secrets_dir))


def main() -> int:
    """For Terraform: fill the container that the environment names (modules/karst_service/keys.tf)."""
    try:
        service, container = os.environ["KARST_SERVICE"], os.environ["KARST_CONTAINER"]
        secrets_dir = Path(os.environ["KARST_SECRETS_DIR"])
    except KeyError as err:
        raise UsageError(
            f"the delivery needs {err} in its environment",
            hint="modules/karst_service/keys.tf runs it; by hand, `iac heal` delivers what is missing",
        ) from err
    with containers.engine() as docker:
        mounts = {one["Destination"] for one in docker.api.inspect_container(container)["Mounts"]}
        app = secrets_dir / "app" / service if APP_SECRETS in mounts else None
        deliver(docker, [Parcel(container, service, secrets_dir / "mesh" / folder_of(service), app)])
    return 0


def _each(one: Any, wanted: Sequence[Parcel]) -> list[Parcel]:
    if not wanted:
        return []
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return [parcel for parcel in pool.map(one, wanted) if parcel is not None]


def _holds(docker: Any, parcel: Parcel) -> bool:
    """Read back and compared here: a hash among a command's arguments would be a secret's to guess by."""
    for folder, files in parcel.files().items():
        held = _read_back(docker, parcel.container, folder)
        if DELIVERED not in held or {n: body for n, body in held.items() if not n.startswith(".")} != files:
            return False
    return True


def _read_back(docker: Any, container: str, folder: str) -> dict[str, bytes]:
    stream, _ = docker.api.get_archive(container, folder)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        parts = {Path(entry.name).name: archive.extractfile(entry) for entry in archive if entry.isfile()}
        return {name: part.read() for name, part in parts.items() if part is not None}


def _bring(docker: Any, parcel: Parcel, folder: str, files: Mapping[str, bytes]) -> None:
    # An extraction replaces a file by removing it first; under these names nobody misses it meanwhile.
    # Each delivery has names of its own: two generations of a service may be brought theirs at the same time.
    ending = secrets.token_hex(4)
    docker.api.put_archive(parcel.container, folder, _tar({f".{name}.{ending}": body for name, body in files.items()}))
    code, said = _run(docker, parcel, ["/opt/karst/take", folder, ending, *files])
    if code != 0:
        raise KarstError(
            f"{parcel.service}: its keys could not be put in place: {said.strip() or f'exit code {code}'}",
            hint="`iac heal` tries again; without it, `terraform apply -replace` of its `terraform_data.keys`",
            code="not_delivered",
        )


def _run(docker: Any, parcel: Parcel, command: Sequence[str]) -> tuple[int, str]:
    user = f"{CONTAINER_UID}:{CONTAINER_UID}"
    execution = docker.api.exec_create(parcel.container, list(command), user=user)
    said = docker.api.exec_start(execution["Id"])
    return int(docker.api.exec_inspect(execution["Id"])["ExitCode"] or 0), bytes(said).decode("utf-8", "replace")


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(body), 0o400, int(time.time())
            entry.uid = entry.gid = CONTAINER_UID
            archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise KarstError(
            f"cannot read {path}: {err.strerror}",
            hint="`iac deploy` makes what is missing in the secrets folder",
            code="no_identity",
        ) from err
