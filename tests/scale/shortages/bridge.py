"""Ports of a Linux bridge: one for each pod of a stack."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from tests.scale import services
from tests.scale.shortages import bench

ROOM = 4  # ports that are left


def run() -> dict[str, Any]:
    """Take all ports but a few with pairs of virtual interfaces; a second stack has a bridge of its own."""
    with bench.private("bridge", "ports of a stack's bridge") as b:
        b.begin()
        network = b.engine.docker("network", "inspect", "--format", "{{.Id}}", f"iacnet-{b.kit.stack}")
        ports, words = fill(b.engine.name, f"br-{network[:12]}")
        for number in range(ROOM):
            subprocess.run(["ip", "-n", b.engine.name, "link", "delete", f"fill{number}"], check=True)
        b.short(f"{ports:,} (the kernel's own), all but {ROOM} taken; `ip link set … master` says: {words}")
        b.breaks()
        services.write(b.kit, bench.FEW, allow=False)
        rest = b.second_stack(range(bench.FEW + 1, bench.MANY + 1))
        b.past(f"the first {bench.FEW} in one stack, the others in a second one", b.kit, rest)
        return b.result


def fill(namespace: str, bridge: str) -> tuple[int, str]:
    """Plug interfaces into the bridge until it takes no more; return how many ports it has, and what was said then."""
    pairs = (f"link add fill{n} type veth peer name fill{n}p\nlink set fill{n} master {bridge}\n" for n in range(2000))
    command = ["ip", "-n", namespace, "-batch", "-"]
    done = subprocess.run(command, input="".join(pairs), capture_output=True, text=True, check=False)
    listed = subprocess.run(
        ["ip", "-n", namespace, "-o", "link", "show", "master", bridge], capture_output=True, text=True, check=True
    )
    last = int(re.findall(r"fill(\d+)", listed.stdout)[-1]) + 1  # made, and not taken
    subprocess.run(["ip", "-n", namespace, "link", "delete", f"fill{last}"], capture_output=True, check=False)
    return len(listed.stdout.splitlines()), done.stderr.splitlines()[0].removeprefix("RTNETLINK answers: ")
