"""A Docker engine that a test may stop, kill and cut the power of: a small machine of its own beside the shared one.

Namespaces make the machine: of the network (ports on 127.0.0.1 are its own), of processes (killing its init kills all
that runs on it, as a power cut does), of mounts and of the host name. Its disk (`--data-root`) is kept in the cache, so
that only the first test on a machine builds every image. Needs root, as `dockerd` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from karst.files import cache_dir
from tests.support import images

ENGINE = frozenset({"dockerd", "containerd"})
SHIM = "containerd-shim"
START_SECONDS = 60
# Reaps what is left to it, as an init does; ends by SIGKILL only.
INIT = """
import os, socket, subprocess, sys, time
socket.sethostname(sys.argv[1])
if os.path.isdir("/run/containerd"):  # a containerd of the host would be used, and would outlive the machine
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/containerd"], check=True)
print(flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""


def require_root() -> None:
    """Skip the test where no private engine can be had."""
    if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("nsenter"):
        pytest.skip("A PRIVATE ENGINE NEEDS ROOT, dockerd, nsenter AND ip")


class Engine:
    """One machine with one engine; start it with ``with Engine.borrowed() as engine``.

    Attributes:
        name: of the network namespace, the cgroup and the host.
        folder: temporary: socket, log, and what a machine keeps in /run.
        disk: the engine's data root.
    """

    def __init__(self, folder: Path, disk: Path, options: Sequence[str] = ()) -> None:
        """``options``: further ones of dockerd's; a change of ``self.options`` counts from the next start on."""
        self.name = f"karst{secrets.token_hex(3)}"
        self.folder, self.disk, self.options = folder, disk, tuple(options)
        self._init: subprocess.Popen[str] | None = None
        self._subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(255)}"

    @classmethod
    @contextlib.contextmanager
    def borrowed(cls, disk_name: str = "test-engine", options: Sequence[str] = ()) -> Iterator[Engine]:
        """The machine, running and empty but for images; one at a time for each disk. Skips without root or dockerd."""
        require_root()
        disk, free = cache_dir() / disk_name, cache_dir() / f"{disk_name}.lock"
        disk.mkdir(parents=True, exist_ok=True)
        with free.open("w") as lock, tempfile.TemporaryDirectory(prefix="karst-") as name:
            fcntl.flock(lock, fcntl.LOCK_EX)
            engine = cls(Path(name), disk, options)
            try:
                engine.power_on()
                engine.clear()
                engine.load(images.base())
                yield engine
            finally:
                engine.close()

    # ------------------------------------------------------------------------------------------- what is done to it
    def power_on(self, network: Callable[[], None] = lambda: None) -> None:
        """Make the machine and start its engine; containers come back as their restart policies say.

        ``network`` is called when the machine's own network is there, to add to it.
        """
        self._network()
        network()
        run = self.folder / "run"  # a machine's /run is empty after a boot
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        isolate = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._init = subprocess.Popen(
            [*self.prefix, *isolate, "python3", "-c", INIT, self.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._init.stdout
        assert self._init.stdout.readline() == "\n", "the machine's init did not start"
        self.start()

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        run = self.folder / "run"
        options = [
            *(f"--data-root={self.disk}", f"--exec-root={run}/docker", f"--pidfile={run}/docker.pid"),
            *(f"--host=unix://{self.socket}", f"--cgroup-parent=/{self.name}", "--mtu=1400"),
            *self.options,
        ]
        with (self.folder / "dockerd.log").open("ab") as log:
            subprocess.Popen(
                [*self.inside, "dockerd", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._until(self._answers, "the private engine did not start")

    def stop(self) -> None:
        """Stop the engine as a service manager does: containers get their SIGTERM and their time."""
        os.kill(int(self._outer({"dockerd"})[0]), signal.SIGTERM)
        self._until(lambda: not self._outer(ENGINE), "the private engine did not stop")

    def kill(self) -> None:
        """kill -9 of engine, containerd and shims; what runs in the containers is left to itself."""
        for pid in self._outer(ENGINE, shims=True):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._until(lambda: not self._outer(ENGINE, shims=True), "the private engine did not die")

    def power_off(self) -> None:
        """Pull the plug: every process of the machine is killed, its network and its /run are gone, its disk stays."""
        if self._init is not None:
            self._init.kill()  # --kill-child takes the init along, and the kernel all others
            self._init.wait()
            if self._init.stdout:
                self._init.stdout.close()
            self._init = None
            self._until(lambda: not self._cgroup_processes(), "processes outlived the machine")
        for command in (f"ip link delete {self.name}", f"ip netns delete {self.name}"):
            subprocess.run(command.split(), capture_output=True, check=False)
        self._masquerade("-D", check=False)

    def close(self) -> None:
        """Remove containers and networks, then the machine; images and build cache stay on its disk."""
        with contextlib.suppress(subprocess.SubprocessError, AssertionError):
            if self._init and not self._outer({"dockerd"}):
                self.start()
            self.clear()
            self.stop()
        self.power_off()
        for path in Path("/sys/fs/cgroup").glob(f"**/{self.name}"):
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    # --------------------------------------------------------------------------------------------------- its use
    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def env(self) -> dict[str, str]:
        """What makes clients on the host use this engine."""
        return {"DOCKER_HOST": f"unix://{self.socket}"}

    @property
    def prefix(self) -> list[str]:
        """What goes before a command that is to run on the machine's network, where the edge's ports are."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    @property
    def inside(self) -> list[str]:
        """What goes before a command that is to be one of the machine's own processes."""
        return ["nsenter", f"--target={self._first}", "--net", "--mount", "--uts", "--pid"]

    @property
    def address(self) -> str:
        """Where the host reaches the machine."""
        return f"{self._subnet}.2"

    def docker(self, *arguments: str, timeout: float = 60) -> str:
        """Run the docker client against this engine and return what it prints."""
        done = subprocess.run(
            ["docker", *arguments],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def load(self, *names: str) -> None:
        """Copy images of the shared engine that this one does not have."""
        for name in names:
            if self.docker("images", "--quiet", name):
                continue
            with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saved:
                subprocess.run(
                    ["docker", "load"],
                    stdin=saved.stdout,
                    env={**os.environ, **self.env},
                    capture_output=True,
                    check=True,
                )

    def kill_container(self, identifier: str) -> None:
        """kill -9 of a container's first process, behind the engine's back: its restart policy applies.

        (`docker kill` counts as stopped by hand, and nothing is started again.)
        """
        number = self.docker("inspect", "--format", "{{.State.Pid}}", identifier)
        subprocess.run(["nsenter", f"--target={self._first}", "--pid", "kill", "-KILL", number], check=True)

    # ------------------------------------------------------------------------------------------------- the machine
    @property
    def _first(self) -> int:
        """The init, as the host numbers it."""
        assert self._init is not None
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        return int(children[0])

    def _processes(self) -> Iterator[tuple[int, str]]:
        """(number on the host, name) of each process of the machine, but not of its containers."""
        try:
            mine = os.readlink(f"/proc/{self._first}/ns/pid")
        except (AssertionError, OSError, IndexError):
            return
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(path / "ns" / "pid") == mine:
                    status = dict(
                        line.split(":\t", 1) for line in (path / "status").read_text().splitlines() if ":\t" in line
                    )
                    if not status["State"].startswith("Z"):
                        yield int(path.name), status["Name"]

    def _outer(self, names: frozenset[str] | set[str], *, shims: bool = False) -> list[int]:
        # The kernel keeps the first 15 characters of a name.
        return [pid for pid, name in self._processes() if name in names or (shims and name.startswith(SHIM[:15]))]

    def _network(self) -> None:
        """A network namespace with a way out, for the builds' package registries."""
        out, end = self.name, f"{self.name}p"
        commands = [
            f"ip netns add {self.name}",
            f"ip link add {out} mtu 1400 type veth peer name {end} mtu 1400 netns {self.name}",
            f"ip addr add {self._subnet}.1/30 dev {out}",
            f"ip link set {out} up",
            f"ip -n {self.name} link set lo up",
            f"ip -n {self.name} addr add {self._subnet}.2/30 dev {end}",
            f"ip -n {self.name} link set {end} up",
            f"ip -n {self.name} route add default via {self._subnet}.1",
        ]
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
        self._masquerade("-I")

    def _masquerade(self, action: str, *, check: bool = True) -> None:
        for rule in (
            f"-t nat {action} POSTROUTING -s {self._subnet}.0/30 ! -o {self.name} -j MASQUERADE",
            f"{action} FORWARD -i {self.name} -j ACCEPT",
            f"{action} FORWARD -o {self.name} -j ACCEPT",
        ):
            subprocess.run(["iptables", "-w", *rule.split()], check=check, capture_output=True)

    def clear(self) -> None:
        """Remove containers, networks and volumes, and leave the Swarm; images stay."""
        with contextlib.suppress(AssertionError):  # it is in none
            self.docker("swarm", "leave", "--force")
        containers = self.docker("ps", "--all", "--quiet").split()
        if containers:
            self.docker("rm", "--force", "--volumes", *containers)
        self.docker("network", "prune", "--force")
        self.docker("volume", "prune", "--force")

    def _answers(self) -> bool:
        try:
            done = subprocess.run(
                ["docker", "info", "--format", "{{json .ServerVersion}}"],
                env={**os.environ, **self.env},
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except subprocess.TimeoutExpired:  # it says nothing while it joins its Swarm again
            return False
        return done.returncode == 0 and bool(json.loads(done.stdout or '""'))

    def _cgroup_processes(self) -> list[str]:
        found: list[str] = []
        for path in Path("/sys/fs/cgroup").glob(f"**/{self.name}/**/cgroup.procs"):
            with contextlib.suppress(OSError):
                found += path.read_text().split()
        return found

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > end:
                lines = (self.folder / "dockerd.log").read_text(errors="replace").splitlines()[-15:]
                raise AssertionError("\n".join([otherwise, *lines]))
            time.sleep(0.05)
