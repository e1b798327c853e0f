"""Several Docker hosts on one machine, joined by a network of their own: private engines, and a switch between them.

Each host is an `Engine` with one more network interface, `lan`, at 10.77.0.<number>. The switch is a bridge in a
network namespace of its own, so that the machine's packet filter is not asked. All hosts are managers of one Swarm,
whose overlay networks need VXLAN (UDP 4789) and no IPVS. A registry can be on the switch, which no host's end concerns.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from karst.files import cache_dir
from tests.support import images, registry
from tests.support.engine import Engine, require_root

LAN = "10.77.0"
SWITCH = f"{LAN}.254"


class Cluster:
    """Hosts that reach each other; start it with ``with Cluster.borrowed(3) as cluster``.

    Attributes:
        hosts: the engines, all of them managers of the Swarm.
        switch: name of the namespace of the bridge between them.
    """

    def __init__(self, hosts: list[Engine]) -> None:
        self.hosts = hosts
        self.switch = f"karst{secrets.token_hex(3)}s"

    @classmethod
    @contextlib.contextmanager
    def borrowed(cls, number: int) -> Iterator[Cluster]:
        """The hosts, joined, and empty but for images; one cluster at a time. Skips without root or dockerd."""
        require_root()
        disks = [cache_dir() / ("test-engine" if n == 1 else f"test-engine-{n}") for n in range(1, number + 1)]
        with (cache_dir() / "test-engine.lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="karst-") as name:
            fcntl.flock(lock, fcntl.LOCK_EX)
            disks[0].mkdir(parents=True, exist_ok=True)
            for disk in disks[1:]:
                if not disk.exists():  # what the first host has built already need not be built again
                    subprocess.run(["cp", "--archive", "--reflink=auto", str(disks[0]), str(disk)], check=True)
            cluster = cls([])
            try:
                cluster._switch_on()
                for n, disk in enumerate(disks, 1):
                    folder = Path(name) / str(n)
                    folder.mkdir()
                    cluster.hosts.append(Engine(folder, disk, [f"--insecure-registry={LAN}.0/24"]))
                    cluster.power_on(n)
                with ThreadPoolExecutor(number) as pool:
                    list(pool.map(lambda host: (host.clear(), host.load(images.base())), cluster.hosts))
                cluster._join()
                yield cluster
            finally:
                cluster.close()

    def address(self, number: int) -> str:
        """The address of host ``number`` (from 1) among the hosts."""
        return f"{LAN}.{number}"

    @contextlib.contextmanager
    def registry(self, folder: Path) -> Iterator[str]:
        """A registry that all hosts reach and take without TLS; yields host and port. ``folder``/docker has a login."""
        with registry.registry(folder, SWITCH, self.switch, f"karst:{secrets.token_hex(8)}") as address:
            yield address

    def power_on(self, number: int) -> None:
        """Start a host; one that was in the Swarm is in it again."""
        host = self.hosts[number - 1]
        host.power_on(network=lambda: self._plug(host, number))

    def power_off(self, number: int) -> None:
        """Pull the plugs of a host, that of the network first: nobody is told that it goes."""
        subprocess.run(["ip", "-n", self.switch, "link", "set", f"port{number}", "down"], check=True)
        self.hosts[number - 1].power_off()

    def settle(self, seconds: float = 120) -> None:
        """Wait until the Swarm has a leader and all its managers: one that is back can make them vote again."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):  # nothing is answered without a leader
                rows = self.hosts[0].docker("node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}").splitlines()
                if sorted(rows) == ["Ready Leader"] + ["Ready Reachable"] * (len(self.hosts) - 1):
                    return
            assert time.monotonic() < end, "the Swarm is not whole again"
            time.sleep(1)

    def close(self) -> None:
        """Remove containers and networks, leave the Swarm, and stop everything; images stay on the disks."""
        for host in self.hosts:
            host.close()
        subprocess.run(["ip", "netns", "delete", self.switch], capture_output=True, check=False)

    # ------------------------------------------------------------------------------------------------------ the network
    def _switch_on(self) -> None:
        for command in (
            f"ip netns add {self.switch}",
            f"ip -n {self.switch} link add lan type bridge",
            f"ip -n {self.switch} link set lan up",
            f"ip -n {self.switch} link set lo up",
            f"ip -n {self.switch} addr add {SWITCH}/24 dev lan",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)

    def _plug(self, host: Engine, number: int) -> None:
        """Give a host its interface; it goes with the host's namespace."""
        # The end of a host that was cut off goes with its namespace, some time later.
        subprocess.run(["ip", "-n", self.switch, "link", "delete", f"port{number}"], capture_output=True, check=False)
        for command in (
            f"ip link add lan netns {host.name} type veth peer name port{number} netns {self.switch}",
            f"ip -n {self.switch} link set port{number} master lan up",
            f"ip -n {host.name} addr add {self.address(number)}/24 dev lan",
            f"ip -n {host.name} link set lan up",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)

    def _join(self) -> None:
        first, *others = self.hosts
        self._swarm(first, 1, "init")
        token = first.docker("swarm", "join-token", "--quiet", "manager")
        for number, host in enumerate(others, 2):
            self._swarm(host, number, "join", "--token", token, f"{self.address(1)}:2377")

    def _swarm(self, host: Engine, number: int, verb: str, *arguments: str) -> None:
        mine = self.address(number)
        where = ["--advertise-addr", mine, "--data-path-addr", mine, "--listen-addr", f"{mine}:2377"]
        host.docker("swarm", verb, *where, *arguments)
