"""The mesh as deployed, and pairs of haproxy and nginx in the same pods, on one network with one authority."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from karst.files import cache_dir
from karst.toolchain import record
from tests.bench.cgroups import Account
from tests.bench.mesh.load import Loader, Outcome, Target
from tests.support import images
from tests.support.kit import docker
from tests.support.mesh import HARDENED, LABEL, Mesh, Pod, wait_until

HERE = Path(__file__).resolve().parent
SIZES = (1_000, 100_000)
OURS, PEERS = "karst", ("haproxy", "nginx")
DIRECT = {"HTTP/1.1": 8000, "HTTP/2": 8001, "gRPC": 9000}
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Variant:
    """Our pair with something changed, to see what that is worth.

    Attributes:
        name: lower case, as in a service's name; "" is the pair as deployed.
        what: for the docs, in a few words.
        caller, called: what to change in the configurations of the two sidecars.
        program: text of the sidecar's start script to replace.
        environment: of the sidecars.
    """

    name: str = ""
    what: str = ""
    caller: Change | None = None
    called: Change | None = None
    program: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def pods(self) -> tuple[str, str, str]:
        """Names of the caller, and of the services for HTTP and for gRPC."""
        return tuple(f"{name}-{self.name}" if self.name else name for name in ("web", "api", "rpc"))  # type: ignore[return-value]


class Stage(Mesh):
    """Started by ``start``; ``close`` removes all of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.peers = images.build("bench-peers", HERE / "peers")
        self._loaders: dict[str, Loader] = {}
        self._accounts: dict[str, Account] = {}
        self._variants: dict[str, Variant] = {}

    def start(self, variants: Sequence[Variant], peers: Sequence[str] = PEERS) -> None:
        """Start our pairs, the peers' and the app without a proxy, and wait until each has answered."""
        docker("network", "create", "--label", f"{LABEL}={self.id}", self.network)
        self._files()
        self.pods |= {f"api-{peer}": Pod(f"api-{peer}", app="") for peer in peers}
        self._variants = {name: variant for variant in variants for name in variant.pods()}
        self.add([Pod(name, app="") for name in self._variants])
        for variant in variants:
            caller, http, rpc = variant.pods()
            self._app(f"pod-{http}")
            self._rpc(f"pod-{rpc}", 8000)
            self._loader(variant.name or OURS, f"container:{self.name(f'pod-{caller}')}")
        for peer in peers:
            self._peer(peer)
        self._app("")
        self._rpc("", 9000)
        self._loader("direct", self.network)
        for name in [variant.name or OURS for variant in variants]:
            for protocol in ("HTTP/1.1", "gRPC"):
                wait_until(lambda n=name, p=protocol: self._answers(n, p), f"{name} does not answer", seconds=40)  # type: ignore[misc]

    def target(self, system: str, hops: int, protocol: str) -> tuple[str, Target]:
        """From which loader, and to where: 0 hops is the app alone, 1 the called side's proxy alone."""
        grpc = protocol == "gRPC"
        if hops == 0:
            return "direct", Target(f"http://direct{'-rpc' if grpc else ''}:{DIRECT[protocol]}")
        if system in PEERS:
            service = f"api-{system}"
            port = 15002 if system == "nginx" and protocol != "HTTP/1.1" else 15001
        else:
            _, http, rpc = Variant(system if system != OURS else "").pods()
            service, port = rpc if grpc else http, 15001
        if hops == 1:
            return "direct", Target(f"https://{service}:15000", tls=True)
        return system, Target(f"http://127.0.0.1:{port}", host=service)

    def proxies(self, system: str, protocol: str) -> tuple[str, str]:
        """Containers of the two proxies on the way."""
        if system in PEERS:
            return f"out-{system}", f"in-{system}"
        caller, http, rpc = Variant(system if system != OURS else "").pods()
        return f"sidecar-{caller}", f"sidecar-{rpc if protocol == 'gRPC' else http}"

    def load(
        self, system: str, hops: int, protocol: str, size: int, *, rate: float, seconds: float
    ) -> tuple[Outcome, list[float]]:
        """One slice of load, and the CPU milliseconds per request of each proxy on the way (caller's first)."""
        loader, target = self.target(system, hops, protocol)
        accounts = [self.account(name) for name in self.proxies(system, protocol)[2 - hops :]] if hops else []
        before = [account.cpu() for account in accounts]
        outcome = self._loaders[loader].run(target, protocol, size, rate=rate, seconds=seconds)
        used = [(account.cpu() - one) / 1e6 for account, one in zip(accounts, before, strict=True)]
        return outcome, [one / outcome.requests for one in used]

    def account(self, container: str) -> Account:
        if container not in self._accounts:
            self._accounts[container] = Account(self.name(container))
        return self._accounts[container]

    def close(self) -> None:
        for loader in self._loaders.values():
            loader.close()
        super().close()

    def _answers(self, system: str, protocol: str) -> bool:
        with contextlib.suppress(AssertionError):
            return self.load(system, 2, protocol, SIZES[0], rate=20, seconds=0.5)[0].failed == 0
        return False

    def _pod(self, pod: Pod, configuration: str) -> None:
        """As the kit starts it, with what the variant changes."""
        variant = self._variants[pod.name]
        change = variant.caller if pod.name == variant.pods()[0] else variant.called
        if change:
            content = yaml.safe_load(configuration)
            change(content)
            configuration = json.dumps(content)
        pod.environment = dict(variant.environment)
        super()._pod(pod, configuration)

    def run(self, name: str, *options: str, image: str = "", command: list[str] | None = None) -> None:
        """As Mesh does; with the variant's own start script where it has one."""
        variant = self._variants.get(name.removeprefix("sidecar-"))
        if name.startswith("sidecar-") and variant and variant.program:
            text = (images.IMAGES / "sidecar" / "sidecar").read_text()
            for old, new in variant.program.items():
                assert old in text, old
                text = text.replace(old, new)
            path = self.folder / f"sidecar-{variant.name}"
            path.write_text(text)
            path.chmod(0o755)
            options = ("--volume", f"{path}:/opt/karst/sidecar:ro", *options)
        super().run(name, *options, image=image, command=command)

    def _files(self) -> None:
        """What the app serves, the peers' configurations, and the load's programs."""
        for kind in ("files", "bench"):
            (self.folder / kind).mkdir()
            for size in SIZES:
                (self.folder / kind / str(size)).write_bytes(b"k" * size)
        tool = Path(shutil.which("fortio") or record.load().get("tools", {}).get("fortio", cache_dir() / "fortio"))
        assert tool.exists(), "there is no fortio: `scripts/toolchain/tool fortio` builds it"
        shutil.copy2(tool, self.folder / "bench" / "fortio")
        shutil.copy2(HERE / "runner.py", self.folder / "bench" / "runner.py")
        for path in [self.folder, *self.folder.rglob("*")]:
            if "secrets" not in path.parts:
                path.chmod(0o755)

    def _where(self, pod: str, alias: str) -> tuple[str, ...]:
        """In ``pod``, or with "" on the network by itself."""
        return (
            ("--network", f"container:{self.name(pod)}")
            if pod
            else ("--network", self.network, "--network-alias", alias)
        )

    def _app(self, pod: str) -> None:
        self._nginx(f"app-{pod}", (HERE / "peers" / "app.nginx").read_text(), *self._where(pod, "direct"))

    def _rpc(self, pod: str, port: int) -> None:
        address = f"127.0.0.1:{port}" if pod else str(port)
        closed = [word for name in ("http", "tcp", "udp", "redirect") for word in (f"-{name}-port", "disabled")]
        self.run(
            f"rpc-{pod}",
            *(*self._where(pod, "direct-rpc"), *HARDENED, "--volume", f"{self.folder / 'bench'}:/bench:ro"),
            *("--user", self.owner, "--workdir", "/tmp"),
            image=self.base,
            command=["/bench/fortio", "server", "-loglevel", "Error", "-grpc-port", address, *closed],
        )

    def _peer(self, peer: str) -> None:
        for side, service in (("in", f"api-{peer}"), ("out", f"web-{peer}")):
            rights = [f"--cap-add={name}" for name in ("NET_ADMIN", "SETUID", "SETGID", "SETPCAP")]
            options = ("--network", self.network, "--network-alias", service, "--user", "0:0", "--cap-drop", "ALL")
            self.run(f"pod-{service}", *options, *rights, "--entrypoint", "/opt/karst/pod")
            namespace = ("--network", f"container:{self.name(f'pod-{service}')}")
            if side == "in":
                self._app(f"pod-{service}")
                self._rpc(f"pod-{service}", 9000)
            # the caller's certificate says `web`, as ours does
            folder = self.secrets / "mesh" / (service if side == "in" else "web")
            text = (HERE / "peers" / f"{peer}.{side}").read_text().replace("@PEER@", f"api-{peer}")
            mount = ("--volume", f"{folder}:/secrets:ro")
            if peer == "nginx":
                self._nginx(f"{side}-{peer}", text, *namespace, *mount)
            else:
                path = self._file(f"{side}-{peer}", text)
                self.run(
                    f"{side}-{peer}",
                    *(*namespace, *HARDENED, *mount, "--user", self.owner, "--volume", f"{path}:/haproxy.cfg:ro"),
                    image=self.peers,
                    command=["haproxy", "-f", "/haproxy.cfg"],
                )
            if side == "out":
                self._loader(peer, namespace[1])

    def _nginx(self, name: str, text: str, *options: str) -> None:
        path = self._file(name, text)
        mounts = ("--volume", f"{path}:/nginx.conf:ro", "--volume", f"{self.folder / 'files'}:/files:ro")
        self.run(
            name,
            *(*options, *HARDENED, *mounts, "--user", self.owner),
            image=self.peers,
            command=["nginx", "-c", "/nginx.conf"],
        )

    def _loader(self, system: str, network: str) -> None:
        mounts = (f"{self.folder / 'bench'}:/bench:ro", f"{self.secrets / 'mesh' / 'web'}:/secrets:ro")
        volumes = [word for mount in mounts for word in ("--volume", mount)]
        self.run(
            f"load-{system}",
            *("--network", network, "--user", self.owner, *HARDENED, *volumes),
            image=self.base,
            command=["sleep", "infinity"],
        )
        self._loaders[system] = Loader(self.name(f"load-{system}"))

    def _file(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.conf"
        path.write_text(text)
        return path
