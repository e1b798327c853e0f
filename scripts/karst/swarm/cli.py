"""`scripts/swarm supply|find|wait|clear`, as modules/karst_service/tasks.tf calls it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from karst import containers
from karst.errors import Exit, UsageError
from karst.external import json_field, serve
from karst.swarm import rollout, supplies

ACTIONS = ("supply", "find", "wait", "clear")


def main(arguments: Sequence[str]) -> int:
    """Do what the one argument names."""
    if len(arguments) != 1 or arguments[0] not in ACTIONS:
        raise UsageError(f"usage: scripts/swarm {'|'.join(ACTIONS)}", code="usage")
    if arguments[0] == "find":
        return serve(find)
    try:
        act = _action(arguments[0], os.environ)
    except (KeyError, ValueError) as err:
        raise UsageError(
            f"`scripts/swarm {arguments[0]}` needs {err} in its environment",
            hint="modules/karst_service/tasks.tf runs it",
            code="usage",
        ) from err
    with containers.engine() as docker:
        act(docker)
    return int(Exit.OK)


def _action(name: str, env: Mapping[str, str]) -> Callable[[Any], None]:
    """What to do with the engine; KeyError or ValueError when the environment does not say it all."""
    stack, service = env["KARST_STACK"], env["KARST_SERVICE"]
    if name == "supply":
        wanted = supplies.Supplies.from_env(env)

        def act(docker: Any) -> None:
            supplies.push(docker, wanted.image)
            supplies.make_secrets(docker, wanted)

    elif name == "wait":
        rolled, seconds = env["KARST_ROLLOUT"], float(env["KARST_GATE_TIMEOUT"])

        def act(docker: Any) -> None:
            rollout.wait(docker, stack, service, rolled, seconds)
            supplies.remove_unused(docker, stack, service)

    else:

        def act(docker: Any) -> None:
            supplies.remove_unused(docker, stack, service, keep_previous=True)
            rollout.await_end(docker, stack, service)

    return act


def find(query: Mapping[str, str]) -> dict[str, str]:
    """Answer `data.external.tasks`: what the services' tasks refer to, by name and version."""
    if query.get("host"):
        os.environ["DOCKER_HOST"] = query["host"]
    if query.get("certs"):
        os.environ |= {"DOCKER_CERT_PATH": query["certs"], "DOCKER_TLS_VERIFY": "1"}
    wanted: dict[str, Any] = json_field(query, "services", {})
    if not wanted:
        return {"services": "{}"}
    with containers.engine() as docker:
        return {"services": json.dumps(supplies.find(docker, query.get("stack", ""), wanted), sort_keys=True)}
