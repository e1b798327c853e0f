"""The admin app's settings, read once at the start from the environment (and .env, which the start loads)."""

from __future__ import annotations

import ipaddress
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from admin.auth.peer import PeerGrants, parse_peers
from admin.auth.settings import AuthSettings, SettingsError, from_env
from admin.entries import Policy, parse_patterns
from karst.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_SOCKET = Path("/run/iac_wrapper.sock")


@dataclass(frozen=True)
class Limits:
    """How much one caller, and all together, may ask for.

    Attributes:
        threads: worker threads of each of the two servers.
        streams: open streams per server; the threads above it answer everything else.
        streams_per_subject: open streams of one caller.
        grpc_streams: open gRPC calls that last: log streams and deploys.
        reads, writes: requests a second (on average) of one caller; ``*_burst`` at once.
        body, header: bytes of a request.
        request_seconds: time a client has to send its whole request.
        stall_seconds: time a client may leave sent data unread.
        connections: open connections per server.
        keep_runs: finished runs that are remembered.
    """

    threads: int = 48
    streams: int = 32
    streams_per_subject: int = 24
    grpc_streams: int = 16
    reads: float = 100.0
    reads_burst: float = 200.0
    writes: float = 0.5
    writes_burst: float = 20.0
    body: int = 256 * 1024
    header: int = 16 * 1024
    request_seconds: float = 15.0
    stall_seconds: float = 30.0
    connections: int = 500
    keep_runs: int = 200


@dataclass(frozen=True)
class Settings:
    """Everything the admin app is told.

    Attributes:
        host, port: the TCP listener, on loopback only; port 0 takes a free one.
        grpc_port: port of the gRPC ControlPlane on ``host``; None for none, 0 for a free one.
        secrets: folder of the mesh's authority and identities; None for the stack's.
        socket: path of the Unix socket; ``socket_given`` says that somebody chose it.
        group: group of the socket (name or number), or "" for the process's own.
        hosts: names that a Host header may have, without the port.
        data: folder of runs and audit log.
        command: argv prefix of the kit's command.
        peers: who may come without a token on the Unix socket.
    """

    auth: AuthSettings
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = 50052
    secrets: Path | None = None
    socket: Path = DEFAULT_SOCKET
    socket_given: bool = False
    group: str = ""
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "[::1]"})
    data: Path = ROOT / ".karst" / "admin"
    command: tuple[str, ...] = (str(ROOT / "admin" / "iac"),)
    peers: PeerGrants = field(default_factory=PeerGrants)
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)


def read(env: Mapping[str, str] | None = None) -> Settings:
    """Read every setting; raise SettingsError or UsageError with one sentence for the first that is wrong."""
    env = os.environ if env is None else env
    command = tuple(shlex.split(env.get("KARST_ADMIN_COMMAND", ""))) or Settings.command
    if not os.access(command[0], os.X_OK):
        raise UsageError(f"{command[0]} is not there, or cannot be executed", code="no_command")
    socket = env.get("KARST_ADMIN_SOCKET", "")
    return Settings(
        auth=from_env(env),
        host=_loopback(env.get("KARST_ADMIN_HOST") or "127.0.0.1"),
        port=_port("KARST_ADMIN_PORT", env.get("KARST_ADMIN_PORT") or "8080"),
        grpc_port=_grpc_port(env.get("KARST_ADMIN_GRPC_PORT") or "50052"),
        socket=Path(socket).expanduser().absolute() if socket else DEFAULT_SOCKET,
        socket_given=bool(socket),
        group=env.get("KARST_ADMIN_SOCKET_GROUP", ""),
        hosts=Settings.hosts | _words(env.get("KARST_ADMIN_HOSTS", "").lower()),
        data=Path(env.get("KARST_ADMIN_DATA") or Settings.data).expanduser().absolute(),
        command=command,
        peers=parse_peers(env.get("KARST_ADMIN_PEER_UIDS", ""), env.get("KARST_ADMIN_PEER_GIDS", "")),
        policy=Policy(
            parse_patterns(env.get("KARST_ADMIN_ALLOW", "")), frozenset(_words(env.get("KARST_ADMIN_SECRETS", "")))
        ),
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(filter(None, (item.strip() for item in text.split(","))))


def _loopback(host: str) -> str:
    try:
        inside = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise SettingsError(
            f"KARST_ADMIN_HOST is {host!r}, and the admin app listens on loopback only: it speaks no TLS",
            hint="reach it through `ssh -L`, or put a TLS proxy in front and name it in KARST_ADMIN_HOSTS",
            code="bad_setting",
        )
    return host


def _port(name: str, text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise SettingsError(f"{name} is {text!r}, not a port", code="bad_setting")
    return int(text)


def _grpc_port(text: str) -> int | None:
    return None if text == "off" else _port("KARST_ADMIN_GRPC_PORT", text)
