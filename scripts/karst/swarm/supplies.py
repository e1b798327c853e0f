"""What a Swarm's tasks need before they start: an image that every node can pull, and the Swarm's own secrets.

Secrets are made over the engine's API from the files in the secrets folder; Terraform knows their names and ids alone.
A name says whose secret it is and of which version; a content is never replaced, because Swarm knows no such thing: a
renewed certificate is another secret, and with it another version of the tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst.containers import SERVICE, STACK
from karst.errors import KarstError
from karst.identity.names import folder as folder_of

FILE = "karst.file"
APP = "app/"


@dataclass(frozen=True)
class Supplies:
    """What one service is to have.

    Attributes:
        stack, service: names.
        image: the registry's name for its image, with the tag.
        secrets: file → what it is a version of; ``app/NAME`` is the app's, the others are the sidecar's.
        folder: the secrets folder.
    """

    stack: str
    service: str
    image: str
    secrets: Mapping[str, str]
    folder: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Supplies:
        """What Terraform hands over; KeyError or ValueError where something is missing."""
        secrets = json.loads(env["KARST_SECRETS"])
        return cls(
            env["KARST_STACK"], env["KARST_SERVICE"], env["KARST_IMAGE"], secrets, Path(env["KARST_SECRETS_DIR"])
        )

    def path(self, file: str) -> Path:
        """Where the content of ``file`` is on this machine."""
        if file.startswith(APP):
            return self.folder / APP / self.service / file.removeprefix(APP)
        return self.folder / "mesh" / folder_of(self.service) / file


def secret_name(stack: str, service: str, file: str, version: str) -> str:
    """The name of one version of a file: readable as far as Swarm's 64 characters allow, and unlike any other."""
    whole = hashlib.sha256(json.dumps([stack, service, file, version]).encode()).hexdigest()
    return f"{stack}-{service}"[:47].rstrip("-") + f"-{whole[:16]}"


def push(docker: Any, image: str) -> None:
    """Push the image with the login of this user; KarstError in the registry's words."""
    repository, _, tag = image.rpartition(":")
    for line in docker.api.push(repository, tag=tag, stream=True, decode=True):
        if line.get("error"):
            raise KarstError(
                f"{image} could not be pushed: {line['error']}",
                hint="the engine that builds must reach the registry, and trust it; `docker login` gives the right to",
                code="not_pushed",
            )


def make_secrets(docker: Any, wanted: Supplies) -> None:
    """Make those that are not there; what is there under its name is the same."""
    there = {row["Spec"]["Name"] for row in _secrets(docker, wanted.stack, wanted.service)}
    for file, version in wanted.secrets.items():
        name = secret_name(wanted.stack, wanted.service, file, version)
        if name not in there:
            labels = {STACK: wanted.stack, SERVICE: wanted.service, FILE: file}
            docker.api.create_secret(name, _read(wanted.path(file)), labels=labels)


def find(docker: Any, stack: str, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Service → its image with the digest, and each file's secret; KarstError for what is gone."""
    ids = {row["Spec"]["Name"]: row["ID"] for row in _secrets(docker, stack)}
    found = {}
    for service, one in wanted.items():
        names = {file: secret_name(stack, service, file, version) for file, version in one["secrets"].items()}
        gone = sorted(file for file, name in names.items() if name not in ids)
        if gone:
            raise KarstError(
                f"{service}: the Swarm has no secret for {', '.join(gone)} any more",
                hint=f'`terraform apply -replace` of its `terraform_data.supplies["{service}"]` makes it again',
                code="secret_gone",
            )
        found[service] = {
            "image": _with_digest(docker, one["image"]),
            "secrets": {file: {"id": ids[name], "name": name} for file, name in names.items()},
        }
    return found


def remove_unused(docker: Any, stack: str, service: str, *, keep_previous: bool = False) -> list[str]:
    """Remove the service's secrets that no service refers to; ``keep_previous`` keeps what a roll-back would need."""
    used = set()
    for row in docker.api.services():
        specs = [row.get("Spec"), row.get("PreviousSpec") if keep_previous else None]
        used |= {identifier for spec in specs if spec for identifier in _references(spec)}
    gone = [row for row in _secrets(docker, stack, service) if row["ID"] not in used]
    for row in gone:
        docker.api.remove_secret(row["ID"])
    return [row["Spec"]["Name"] for row in gone]


def _references(spec: Mapping[str, Any]) -> Iterator[str]:
    for secret in (spec["TaskTemplate"].get("ContainerSpec") or {}).get("Secrets") or []:
        yield secret["SecretID"]


def _secrets(docker: Any, stack: str, service: str = "") -> list[dict[str, Any]]:
    labels = [f"{STACK}={stack}"] + ([f"{SERVICE}={service}"] if service else [])
    found: list[dict[str, Any]] = docker.api.secrets(filters={"label": labels})
    return found


def _with_digest(docker: Any, image: str) -> str:
    """``image`` with the digest that it was pushed with, so that nodes that have it ask no registry for it."""
    import docker.errors as errors

    repository = image.rpartition(":")[0]
    try:
        digests = docker.api.inspect_image(image).get("RepoDigests") or []
    except errors.ImageNotFound:
        digests = []
    for reference in digests:
        if reference.startswith(f"{repository}@"):
            return f"{image}@{reference.rpartition('@')[2]}"
    return f"{image}@{docker.api.inspect_distribution(image)['Descriptor']['digest']}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise KarstError(
            f"cannot read {path}: {err.strerror}",
            hint="plan again: a plan makes what is missing in the secrets folder",
            code="no_identity",
        ) from err
