"""Says what is there, what is missing, and what `make bootstrap` would do about it. Changes nothing, asks no network.

Usage: scripts/toolchain/doctor: exit code 1 when something is missing that bootstrap cannot get.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from karst.errors import Exit, KarstError
from karst.files import cache_dir
from karst.toolchain import apt, base_image, engine, go, link, providers, record, terraform, tools
from karst.toolchain.process import ROOT

OK, WOULD, MISSING = "ok", "will do", "MISSING"


class Finding(NamedTuple):
    part: str
    state: str
    text: str


def main() -> int:
    findings = list(examine())
    for part, state, text in findings:
        print(f"  {part:<16} {state:<8} {text}")
    missing = sum(state == MISSING for _, state, _ in findings)
    todo = sum(state == WOULD for _, state, _ in findings)
    if missing:
        print(f"\n{missing} missing that `make bootstrap` cannot get.")
    elif todo:
        print(f"\n`make bootstrap` would see to {todo} of these.")
    else:
        print("\nEverything is there.")
    return int(Exit.FAILED if missing else Exit.OK)


def examine() -> Iterator[Finding]:
    """Yield one finding per part, in the order in which bootstrap sees to them."""
    for name in ("git", "make"):
        found = shutil.which(name)
        yield Finding(name, OK if found else MISSING, found or f"install {name}")
    yield Finding("python", OK, f"{sys.version.split()[0]}: {sys.executable}")
    yield from _environments()
    answer = engine.version_or_none()
    yield _engine(answer)
    command = terraform.find()
    yield _terraform(command)
    yield _providers()
    yield _base_image(bool(answer))
    bundle = base_image.build_ca_file()
    yield Finding("build CA", OK, bundle or "none: builds trust what their base image trusts")
    ready, text = link.state()
    target = link.folder()
    yield Finding(
        "iac", OK if ready or not target else WOULD, f"{text}; link it into {target}" if target and not ready else text
    )
    yield _hooks()
    for name in tools.TOOLS:
        found = record.tool(name)
        yield Finding(name, OK, found or "not there; `make test` or `make lint` builds it when it is needed")
    yield from _ports()
    yield Finding("cache", OK, str(cache_dir()))


def _environments() -> Iterator[Finding]:
    for part, flags in (("environment", []), ("environment, dev", ["--dev"])):
        program = ROOT / "scripts" / "toolchain" / "environment"
        path = subprocess.run([program, *flags, "--path"], capture_output=True, text=True, check=True).stdout.strip()
        there = (Path(path) / "bin" / "python").exists()
        yield Finding(part, OK if there else WOULD, path if there else f"make it with uv or pip: {path}")


def _engine(answer: str | None) -> Finding:
    if answer:
        return Finding("engine", OK, f"Docker {answer}")
    try:
        engine.refuse_what_is_not_ours()
    except KarstError as err:
        return Finding("engine", MISSING, f"{err.message}: {err.hint}")
    return Finding(
        "engine", WOULD, "start it" if shutil.which("dockerd") else "install docker.io and iptables, start it"
    )


def _terraform(command: tuple[str, str] | None) -> Finding:
    if command:
        return Finding("terraform", OK, f"{command[0]} ({terraform.describe(command[0])})")
    if go.usable():
        return Finding("terraform", WOULD, "build OpenTofu from its Go module (minutes)")
    return Finding("terraform", MISSING, "install Terraform or OpenTofu, or Go to build it")


def _providers() -> Finding:
    source = str(record.load().get("provider_source", ""))
    if source == "registry":
        return Finding("providers", OK, "from the registry")
    if source == "mirror" and providers.complete():
        return Finding("providers", OK, f"built from Go modules: {providers.mirror()}")
    build = (
        "else build them from Go modules (minutes)"
        if go.usable()
        else "there is no Go to build them if it does not answer"
    )
    return Finding("providers", WOULD, f"ask the registry; {build}")


def _base_image(answering: bool) -> Finding:
    found = base_image.find() if answering else None
    if found:
        return Finding("base image", OK, f"{found[0]} ({found[1]})")
    can_make = os.geteuid() == 0 and (shutil.which("debootstrap") or apt.usable())
    return Finding(
        "base image", WOULD, f"pull {base_image.OFFICIAL.split('@')[0]}" + (", else debootstrap" if can_make else "")
    )


def _hooks() -> Finding:
    if not shutil.which("git"):
        return Finding("hooks", OK, "not in a git checkout")
    git = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--git-path", "hooks"], capture_output=True, text=True, check=False
    )
    if git.returncode != 0:
        return Finding("hooks", OK, "not in a git checkout")
    there = (ROOT / git.stdout.strip() / "pre-commit").exists()
    return Finding("hooks", OK if there else WOULD, "are there" if there else "install pre-commit's")


def _ports() -> Iterator[Finding]:
    """The edge's three ports; taken is fine when it is our edge that took them."""
    for port, use in ((15000, "mTLS to every service"), (9901, "statistics"), (8088, "front door")):
        with socket.socket() as probe:
            probe.settimeout(0.5)
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        yield Finding(
            f"port {port}", OK, f"{use}: " + ("in use (by a running stack, or choose another)" if taken else "free")
        )
