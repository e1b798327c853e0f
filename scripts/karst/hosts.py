"""The hosts of a stack that runs on several: the file that lists them, and the Terraform that follows from it.

Terraform cannot make providers from a list, so scripts/hosts writes one provider and two module blocks for each host
into the root (`hosts.tf.json`). Which pods a host gets is settled in modules/karst_service by the names of all hosts.
With the engine `swarm` each host has an edge, and one module has the services, which the Swarm places.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst.errors import UsageError, did_you_mean
from karst.fields import kind
from karst.files import write_atomic
from karst.listfile import read_list

GENERATED = "hosts.tf.json"
ENGINES = ("docker", "swarm")
KEYS = ("name", "docker_host", "cert_path", "down", "drain")
NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
_ENGINE = re.compile(r"unix:///[^\s]+|ssh://[^\s@/]+(@[^\s@/]+)?|tcp://[^\s@/:]+:[0-9]{1,5}", re.ASCII)
_CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
# What the root hands to both modules, and to each of them, under the same name.
_BOTH = ("network_name", "cert_lifetime", "base_image", "build_ca_file", "log_megabytes")
_DELIVERED = ("identity_delivery",)  # not to a Swarm's tasks, whose keys are its secrets
_SERVICE = ("slugs", "held_file", "build_secrets", "otlp_endpoint", "envoy_spans", "gate_timeout", "drain_seconds")


@dataclass(frozen=True)
class Host:
    """One Docker host.

    Attributes:
        name: what the kit calls it; it decides which pods the host gets, so it stays when the machine is replaced.
        docker_host: where its engine answers: ``unix://``, ``ssh://`` or ``tcp://`` (with TLS).
        cert_path: folder with ca.pem, cert.pem and key.pem, for ``tcp://``.
        down: it does not answer: Terraform forgets what it had there, and others take its pods over.
        drain: it is to be emptied, and others take its pods over.
    """

    name: str
    docker_host: str
    cert_path: str = ""
    down: bool = False
    drain: bool = False

    @property
    def serves(self) -> bool:
        """Whether pods are placed on it."""
        return not self.down and not self.drain


def load(path: Path) -> list[Host]:
    """The hosts of a YAML or JSON file; UsageError names what is wrong in it."""
    entries = read_list(path)
    if not isinstance(entries, list) or not entries:
        raise UsageError(
            f"{path.name} is no list of hosts",
            hint="write `- name: a` and `docker_host: ssh://user@host` below it, for each host",
            code="bad_hosts",
        )
    hosts = [_host(entry, number, path) for number, entry in enumerate(entries, 1)]
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path.name} has two hosts named `{name}`", code="bad_hosts")
    if not any(host.serves for host in hosts):
        raise UsageError(
            f"no host of {path.name} is left: all are `down` or `drain`",
            hint="to remove the stack, destroy it",
            code="bad_hosts",
        )
    return hosts


def _host(entry: Any, number: int, path: Path) -> Host:
    where = f"entry {number} of {path.name}"

    def bad(text: str, hint: str = "") -> UsageError:
        return UsageError(f"{where}: {text}", hint=hint, code="bad_hosts")

    if not isinstance(entry, Mapping):
        raise bad(f"a host is a mapping, not {kind(entry)}", "write `name:` and `docker_host:`")
    for key in entry:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS) or f"the keys are {', '.join(KEYS)}"
            raise bad(f"unknown key `{str(key)[:40]}`", hint)
    name, engine, certificates = (entry.get(key) or "" for key in ("name", "docker_host", "cert_path"))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        rule = "up to 32 of a-z, 0-9 and -, beginning with a letter and not ending with -"
        raise bad(f"`name`: `{str(name)[:40]}` is no name of a host", f"a name is {rule}, for example `a` or `rack-2`")
    if not isinstance(engine, str) or not _ENGINE.fullmatch(engine):
        raise bad(
            f"`docker_host`: `{str(engine)[:80]}` is no address of an engine",
            "for example ssh://deploy@host, tcp://host:2376, unix:///run/docker.sock",
        )
    if not isinstance(certificates, str) or (engine.startswith("tcp:") and not certificates):
        raise bad(
            f"`{engine}` needs `cert_path`: without TLS anybody who reaches that port owns the host",
            f"name a folder with {', '.join(_CERTIFICATES)}, or use ssh://",
        )
    folder = path.absolute().parent / Path(certificates).expanduser()
    missing = [one for one in _CERTIFICATES if certificates and not (folder / one).is_file()]
    if missing:
        raise bad(f"`cert_path`: there is no {missing[0]} in {folder}")
    flags = {key: entry.get(key) for key in ("down", "drain")}
    for key, value in flags.items():
        if value is not None and not isinstance(value, bool):
            raise bad(f"`{key}`: wanted true or false, got {kind(value)}")
    if flags["down"] and flags["drain"]:
        raise bad("`down` and `drain` exclude each other", "a host that does not answer cannot be emptied")
    return Host(name, engine, str(folder) if certificates else "", bool(flags["down"]), bool(flags["drain"]))


def terraform(
    hosts: Sequence[Host], stack: str, modules: str, keep: Sequence[str] = (), engine: str = "docker"
) -> dict[str, Any]:
    """The generated part of the root; ``modules`` is the modules' folder as seen from it.

    ``keep`` are the hosts that pods were placed on before: with it, what moves is at both places.
    """
    serving = [host for host in hosts if host.serves]
    first = serving[0]
    module: dict[str, Any] = {}
    for host in (one for one in hosts if one.serves or (one.drain and one.name in keep)):
        module[f"edge_{host.name}"] = {
            **_given(host, stack, *_BOTH, *_DELIVERED),
            "source": f"{modules}/karst_mesh",
            "shared_network": {"id": "${docker_network.mesh.id}"},
            "ports": "${var.ports}",
        }
        if engine == "docker":
            module[f"pods_{host.name}"] = {
                **_services(host, stack, modules, *_DELIVERED),
                "placement": {
                    "host": host.name,
                    "hosts": sorted(one.name for one in serving),
                    **({"keep": sorted(keep)} if keep else {}),
                },
            }
    if engine == "swarm":
        module["tasks"] = {**_services(first, stack, modules, "registry"), "engine": "swarm"}
    pods = ", ".join(f'"{host.name}" = module.pods_{host.name}.pods' for host in serving if engine == "docker")
    made: dict[str, Any] = {
        "//": "Written by scripts/hosts from the list of hosts: change that list, not this file.",
        "provider": {"docker": [_provider(host, first if host.down else host, engine) for host in hosts]},
        "resource": {"docker_network": {"mesh": _overlay(first, stack)}},
        "module": module,
        "output": {
            "pods": {
                "description": "Host → service → names of the pods there; empty with the engine `swarm`.",
                "value": f"${{{{ {pods} }}}}",
            },
            "services": {
                "description": "Every service with its revision, identity and generation.",
                "value": f"${{module.{'tasks' if engine == 'swarm' else f'pods_{first.name}'}.services}}",
            },
        },
    }
    if gone := [host for host in hosts if host.down]:
        # Forgotten, not destroyed: nobody there answers. What is there when it comes back, scripts/hosts removes.
        kinds = ("pods", "edge") if engine == "docker" else ("edge",)
        parts = [f"module.{part}_{host.name}" for host in gone for part in kinds]
        made["removed"] = [{"from": part, "lifecycle": {"destroy": False}} for part in parts]
    return made


def _given(host: Host, stack: str, *names: str) -> dict[str, Any]:
    """What both modules are given for a host, and the root's variables ``names`` as they are."""
    return {
        **{name: f"${{var.{name}}}" for name in names},
        "stack": stack,
        "docker_host": host.docker_host,
        "docker_cert_path": host.cert_path,
        "providers": {"docker": f"docker.{host.name}"},
        "secrets_dir": "${local.secrets_dir}",
    }


def _services(host: Host, stack: str, modules: str, *names: str) -> dict[str, Any]:
    """The services, by the engine of ``host``."""
    return {
        **_given(host, stack, *_BOTH, *_SERVICE, *names),
        "source": f"{modules}/karst_service",
        "slugs_file": "${local.slugs_file}",
        "lock_file": "${local.lock_file}",
        "log_dir": "${local.log_dir}",
        "network": "${docker_network.mesh.id}",
        "edge": "${local.edge}",
    }


def _provider(host: Host, asked: Host, engine: str) -> dict[str, Any]:
    """A provider that asks the engine of ``asked``.

    Terraform wants a provider that answers even to forget what a dead host had. Another host's engine knows none of it.
    A Swarm hands the login that it is given with a service to every host that pulls the service's image.
    """
    made: dict[str, Any] = {"alias": host.name, "host": asked.docker_host}
    if asked.cert_path:
        made["cert_path"] = asked.cert_path
    if engine == "swarm":
        each = '${var.registry_login ? [split("/", var.registry)[0]] : []}'
        made["dynamic"] = {"registry_auth": {"for_each": each, "content": {"address": "${registry_auth.value}"}}}
    return made


def _overlay(first: Host, stack: str) -> dict[str, Any]:
    """The network that all hosts share. The engine of ``first`` must be a manager of the Swarm."""
    return {
        "provider": f"docker.{first.name}",
        "name": "${var.network_name}",
        "driver": "overlay",
        "attachable": True,
        "labels": [{"label": "karst.stack", "value": stack}],
    }


def forgotten(root: Path) -> set[str]:
    """The hosts that the last run called down: what is on them is in no state."""
    gone = _before(root).get("removed", [])
    return {one["from"].removeprefix("module.edge_") for one in gone if "module.edge_" in one["from"]}


def moving(hosts: Sequence[Host], root: Path) -> list[str]:
    """The hosts that pods were placed on before, where some move now from one that answers; else none."""
    modules = _before(root).get("module", {}).values()
    places = [one["placement"] for one in modules if "placement" in one]
    before = {name for one in places for name in one.get("keep") or one["hosts"]}
    answering = {host.name for host in hosts if not host.down}
    # From a host that is down there is nothing to keep, and those that stay only get more.
    return sorted(before & answering) if {host.name for host in hosts if host.serves} != before & answering else []


def _before(root: Path) -> dict[str, Any]:
    """What the last run wrote."""
    try:
        found = json.loads((root / GENERATED).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(hosts: Sequence[Host], stack: str, root: Path, keep: Sequence[str] = (), engine: str = "docker") -> Path:
    """Write the generated part into ``root``; return its path."""
    from karst.stack import ROOT

    modules = os.path.relpath(ROOT / "modules", root.resolve())
    path = root / GENERATED
    write_atomic(path, json.dumps(terraform(hosts, stack, modules, keep, engine), indent=2) + "\n", mode=0o644)
    return path
