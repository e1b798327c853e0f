"""The containers of a stack, found by label and never by name (names change with every generation)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karst import dial
from karst.errors import KarstError, UsageError, did_you_mean

STACK, SERVICE, ROLE = "karst.stack", "karst.service", "karst.role"
REVISION, GENERATION, ALLOW = "karst.revision", "karst.generation", "karst.allow"


@dataclass(frozen=True)
class Member:
    """One container of a pod, or the edge.

    Attributes:
        id: full container id.
        name: name without the leading slash.
        service: service it belongs to, ``edge`` for the edge.
        role: ``pod``, ``app``, ``sidecar``, ``edge``, or ``keeper``, which holds the edge's key.
        revision: revision of the service's source.
        generation: hash of everything the pod is made of.
        state: Docker's word: created, running, restarting, exited …
        created: seconds since the epoch.
        pod_id: id of the container whose network namespace it is in; its own id for a pod.
        allow: who may call the service: names, ``edge`` for the front door, ``*`` for every service.
        networks: ids of the networks it is on itself.
        mounts: where in it something is mounted.
    """

    id: str
    name: str
    service: str
    role: str
    revision: str
    generation: str
    state: str
    created: int
    pod_id: str
    allow: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def client(timeout: int = 30) -> Any:
    """A Docker client for the engine that DOCKER_HOST names; KarstError when no engine answers."""
    import docker

    if dial.by_ssh():
        return _by_ssh(timeout)
    try:
        connection = docker.from_env(timeout=timeout)
        connection.ping()
    except (docker.errors.DockerException, OSError) as err:
        raise KarstError(
            "no Docker engine answers at DOCKER_HOST (or the default socket)",
            hint="start Docker, or run `make bootstrap`, which installs and starts one where it can",
            code="no_docker",
        ) from err
    return connection


def _by_ssh(timeout: int) -> Any:
    import docker
    from requests.exceptions import RequestException

    from karst import ssh_adapter

    way = dial.Ssh(dial.docker_host())
    try:
        return ssh_adapter.client(way, timeout)
    except (docker.errors.DockerException, RequestException, OSError) as err:
        reason = way.why() or type(err).__name__
        way.close()
        raise KarstError(
            f"no Docker engine answers at DOCKER_HOST ({dial.docker_host()}): {reason}",
            hint="`ssh HOST docker version` has to work without a question: key, known_hosts, the docker group there",
            code="no_docker",
        ) from err


@contextlib.contextmanager
def engine() -> Iterator[Any]:
    """A Docker client that is closed afterwards; what the engine refuses or leaves unanswered is a KarstError."""
    import docker
    from requests.exceptions import RequestException

    connection = client()
    try:
        yield connection
    except docker.errors.APIError as err:
        raise KarstError(f"the Docker engine refused: {err.explanation or err}", code="engine_refused") from err
    except RequestException as err:
        raise KarstError(
            f"the Docker engine did not answer ({type(err).__name__})",
            hint="it may be busy or stopped: look at `docker info`, and give the command again",
            code="engine_silent",
        ) from err
    finally:
        connection.close()


def members(connection: Any, stack: str, service: str | None = None) -> list[Member]:
    """All containers of the stack (or of one service), stopped ones too, newest first."""
    wanted = [f"{STACK}={stack}"] + ([f"{SERVICE}={service}"] if service else [])
    # The low-level list is one request; the high-level one inspects every container on its own.
    rows = connection.api.containers(all=True, filters={"label": wanted})
    found = [member(row) for row in rows if row["Labels"].get(ROLE)]
    return sorted(found, key=lambda one: (-one.created, one.name))


def details(connection: Any, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Docker's `inspect` by container id, without those that are gone."""
    from concurrent.futures import ThreadPoolExecutor

    import docker.errors

    def inspect(identifier: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = connection.api.inspect_container(identifier)
        except docker.errors.NotFound:
            return {}
        return found

    with ThreadPoolExecutor(max_workers=8) as pool:
        return {one: found for one, found in zip(ids, pool.map(inspect, ids), strict=True) if found}


def deployed(found: Sequence[Member]) -> list[Member]:
    """``found`` without services that no deploy made: what somebody gave our labels by hand has no generation.

    A container of that kind under the name of a service that there is stays in: it looks like one of its pods.
    """
    made = {one.service for one in found if one.generation or one.role not in ("pod", "app", "sidecar")}
    return [one for one in found if one.service in made]


def has_image(connection: Any, tag: str) -> bool:
    """Whether the engine has this image."""
    import docker.errors

    try:
        connection.api.inspect_image(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def require(names: Sequence[str], known: Sequence[str], stack: str) -> None:
    """Raise UsageError for the first of ``names`` that is no service of the stack."""
    for name in names:
        if name not in known:
            raise UsageError(
                f"stack `{stack}` has no service `{name}`",
                hint=did_you_mean(name, known) or f"it has: {', '.join(known) or 'none'}",
                code="unknown_service",
            )


def member(row: Mapping[str, Any]) -> Member:
    """A row of the engine's list of containers."""
    labels = row["Labels"]
    mode = (row.get("HostConfig") or {}).get("NetworkMode", "")
    return Member(
        id=row["Id"],
        name=(row.get("Names") or ["/"])[0].lstrip("/"),
        service=labels.get(SERVICE, ""),
        role=labels[ROLE],
        revision=labels.get(REVISION, ""),
        generation=labels.get(GENERATION, ""),
        state=row.get("State", ""),
        created=int(row.get("Created", 0)),
        pod_id=mode.removeprefix("container:") if mode.startswith("container:") else row["Id"],
        allow=tuple(filter(None, labels.get(ALLOW, "*").split(","))),
        networks=tuple(
            sorted(
                one["NetworkID"]
                for one in ((row.get("NetworkSettings") or {}).get("Networks") or {}).values()
                if one.get("NetworkID")
            )
        ),
        mounts=tuple(sorted(one["Destination"] for one in row.get("Mounts") or () if one.get("Destination"))),
    )


def ending(details: Mapping[str, Any]) -> tuple[int | None, str]:
    """From Docker's `inspect`: exit code and reason of a container that has stopped, or that Docker starts again after
    its end; (None, "") for one that runs.
    """
    state = details["State"]
    if state.get("Running") and not state.get("Restarting"):
        return None, ""
    code = state.get("ExitCode")
    reason = state.get("Error") or ("killed for want of memory" if state.get("OOMKilled") else "")
    if state.get("Restarting"):
        again = int(details.get("RestartCount") or 0)
        reason = f"{reason or f'exited with code {code}'} (started again {again} times)"
    return code, reason


def tail(connection: Any, container_id: str, lines: int) -> list[str]:
    """The last ``lines`` lines that a container printed, without failing when it is gone."""
    import docker

    try:
        raw = connection.api.logs(container_id, stdout=True, stderr=True, tail=lines)
    except docker.errors.APIError:
        return []
    return bytes(raw).decode("utf-8", "replace").splitlines()[-lines:]
