"""`scripts/hosts`: checks the hosts of a list, writes the Terraform that follows from it, and runs it."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from karst import containers, dial, hosts, leftovers
from karst.errors import Exit, KarstError, UsageError
from karst.hosts import Host
from karst.toolchain import record

ANSWER_SECONDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and write; the exit code is 1 when a host that should serve cannot, and then nothing is written."""
    from karst.stack import DEFAULT_STACK, ROOT, is_name

    parser = argparse.ArgumentParser(prog="scripts/hosts", description=__doc__)
    parser.add_argument("file", type=Path, help="YAML or JSON list of hosts")
    parser.add_argument("--root", type=Path, default=ROOT / "envs" / "hosts", help="folder of the Terraform root")
    parser.add_argument("--stack", default=os.environ.get("KARST_STACK") or DEFAULT_STACK, help="default: %(default)s")
    parser.add_argument(
        "--engine",
        choices=hosts.ENGINES,
        default="docker",
        help="who places services: the kit, as pods (docker), or the Swarm, as its own (swarm); default: %(default)s",
    )
    parser.add_argument("--unchecked", action="store_true", help="write without asking any host")
    parser.add_argument("terraform", nargs=argparse.REMAINDER, help="what to have Terraform do then: plan, apply …")
    options = parser.parse_args(arguments)
    if not is_name(options.stack):
        raise UsageError(f"`{options.stack[:40]}` is not a stack name", hint="for example `team-a`", code="bad_stack")
    found = hosts.load(options.file)
    if not options.unchecked:
        asked = [host for host in found if not host.down]
        with ThreadPoolExecutor(len(asked)) as pool:
            problems = [text for text in pool.map(lambda host: problem(host, asked), asked) if text]
        if problems:
            raise KarstError(
                "\n".join(problems),
                hint="put it right, or write `down: true` at that host: others then take its pods over",
                code="host_unusable",
            )
        for host in asked:
            if host.name in hosts.forgotten(options.root):
                clear(host, options.stack)
    keep = hosts.moving(found, options.root) if options.engine == "docker" else []
    if keep and options.terraform[:1] == ["apply"]:
        # Twice: pods are started at their new places before they go from the old ones.
        hosts.write(found, options.stack, options.root, keep)
        if code := terraform(options.root, options.terraform):
            return code
    path = hosts.write(found, options.stack, options.root, engine=options.engine)
    print(f"{path}: {', '.join(_word(host) for host in found)}", flush=True)
    return terraform(options.root, options.terraform) if options.terraform else int(Exit.OK)


def terraform(root: Path, arguments: Sequence[str]) -> int:
    """Run Terraform in the root, with what it needs to find providers and to build on each host; its exit code."""
    command = [record.terraform_command(), f"-chdir={root}"]
    # Builds of the provider's newer kind go to the engine of DOCKER_HOST, whichever host the provider was given.
    env = {**record.terraform_environment(), "DOCKER_BUILDKIT": "0"}
    if arguments[0] != "init":
        quiet = subprocess.run([*command, "init", "-input=false"], env=env, capture_output=True, text=True, check=False)
        if quiet.returncode != 0:
            raise KarstError(f"terraform init failed:\n{quiet.stdout}{quiet.stderr}", code="init_failed")
    return subprocess.run([*command, *arguments], env=env, check=False).returncode


def clear(host: Host, stack: str) -> None:
    """Remove what a host that was down has of the stack: it is in no state, and has names that are needed.

    Not a Swarm's tasks, which it sees to by itself. With the containers go the volumes that their keys were in.
    """
    with engine(host) as docker:
        for gone in leftovers.remove(docker, [m for m in containers.members(docker, stack) if m.role != "task"]):
            print(f"{host.name} is back: removed what it had: {gone}")
        for volume in docker.volumes.list(filters={"label": f"{containers.STACK}={stack}"}):
            if reason := _remove(volume):
                print(f"{host.name} is back: a volume stays there: {reason}")


def _remove(volume: Any) -> str:
    """Remove it, with some patience: its container may not be gone yet; "" or why it stays."""
    import docker.errors

    reason = ""
    for pause in (0.5, 1, 2, 0):
        try:
            volume.remove()
        except docker.errors.NotFound:
            return ""
        except docker.errors.APIError as err:
            reason = str(err.explanation or err)
            time.sleep(pause)
        else:
            return ""
    return reason


def problem(host: Host, asked: Sequence[Host]) -> str:
    """One sentence on what keeps pods of the stack from running there; "" for nothing."""
    try:
        swarm = info(host)["Swarm"]
    except KarstError as err:
        return err.message
    if swarm["LocalNodeState"] != "active":
        return (
            f"host `{host.name}` is in no Swarm (`docker swarm join` makes it a member), so it cannot share a network"
        )
    if swarm.get("Error"):
        return f"the Swarm of host `{host.name}` is not well: {swarm['Error']}"
    first = next(one for one in asked if one.serves)
    if host is first and not swarm["ControlAvailable"]:
        return f"host `{host.name}` is no manager of the Swarm, and the first host that serves makes the network"
    return ""


def info(host: Host) -> dict[str, Any]:
    """What the engine says of itself; KarstError when it does not answer."""
    with engine(host) as docker:
        found: dict[str, Any] = docker.info()
        return found


@contextlib.contextmanager
def engine(host: Host) -> Iterator[Any]:
    """A client of the host's engine; KarstError when it does not answer or refuses."""
    import docker
    import requests

    way = dial.Ssh(host.docker_host) if dial.by_ssh(host.docker_host) else None
    try:
        with contextlib.closing(_client(host, way)) as client:
            yield client
    except (docker.errors.DockerException, requests.RequestException, OSError) as err:
        reason = (way.why() if way else "") or type(err).__name__
        raise KarstError(
            f"host `{host.name}` does not answer at {host.docker_host} ({reason})", code="host_silent"
        ) from err
    finally:
        if way:
            way.close()


def _client(host: Host, way: dial.Ssh | None) -> Any:
    import docker
    import docker.tls

    if way:
        from karst import ssh_adapter

        return ssh_adapter.client(way, ANSWER_SECONDS)
    tls: Any = None
    if host.cert_path:
        folder = Path(host.cert_path)
        pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)
    return docker.DockerClient(host.docker_host, tls=tls, timeout=ANSWER_SECONDS, version="auto")


def _word(host: Host) -> str:
    return f"{host.name}{' (down)' if host.down else ' (drained)' if host.drain else ''}"
