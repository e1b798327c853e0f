"""Ask a service's runner how it is: gRPC over mTLS, through the edge and the service's Envoy."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from karst import unary
from karst.doors import Address
from karst.errors import KarstError
from karst.tunnel import TRUST_DOMAIN, Tunnel, Unreachable, connect, get_status

if TYPE_CHECKING:
    import grpc

EDGE = ("127.0.0.1", 15000)
HEALTHY = frozenset({"SERVING", "COMPLETED"})
#: Status of a service that could not be asked; the runner never sends it.
UNREACHABLE = "UNREACHABLE"
_NOT_OURS = "it answers, but not as a runner of this kit"


@dataclass(frozen=True)
class Health:
    """One service's answer, or the reason why there is none (`status` is then UNREACHABLE).

    Attributes:
        status: UNKNOWN, STARTING, SERVING, NOT_SERVING, COMPLETED, FAILED or UNREACHABLE.
        reason: one sentence; "" when there is nothing to say.
        exit_code: how the app ended last; None while it never did.
        kind: server, job, worker, or undecided.
        since_ns: when the status became what it is, in nanoseconds since 1970; 0 when unknown.
        pods: how many pods the generation has that this is said of.
        healthy_pods: how many of them are healthy; None for one pod, of which the status says it.
    """

    service: str
    status: str
    revision: str = ""
    reason: str = ""
    exit_code: int | None = None
    app_port: int | None = None
    kind: str = "undecided"
    restarts: int = 0
    stack: str = ""
    since_ns: int = 0
    pods: int = 1
    healthy_pods: int | None = None

    @property
    def healthy(self) -> bool:
        """Whether it serves, be it with fewer pods than it should have."""
        return self.status in HEALTHY

    @property
    def whole(self) -> bool:
        """Whether all of its pods do."""
        return self.healthy and self.healthy_pods in (None, self.pods)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Client:
    """A connection to one service that can be asked again and again; close it, or use it in a ``with``."""

    def __init__(
        self,
        service: str,
        *,
        address: Address = EDGE,
        secrets_dir: Path | str = "secrets",
        sni: str | None = None,
        timeout: float = 2.0,
        trust_domain: str = TRUST_DOMAIN,
    ) -> None:
        """Connect; raises Unreachable. ``sni`` asks one generation of the service: its pod container's name."""
        self._tunnel = Tunnel(service, address, Path(secrets_dir), sni=sni, timeout=timeout, trust_domain=trust_domain)
        # After the handshake: what cannot be reached need not wait for gRPC's import.
        import grpc

        from karst.pb import controlplane_pb2_grpc

        self._service = service
        self._timeout = timeout
        self._grpc = grpc
        options = [
            ("grpc.default_authority", service),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", 60_000),  # the tunnel carries one connection
        ]
        self._channel = grpc.insecure_channel(self._tunnel.target, options=options)
        self._stub: Any = controlplane_pb2_grpc.ControlPlaneStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()
        self._tunnel.close()

    def health(self) -> Health:
        """Ask HealthCheck; raises Unreachable when there is no answer."""
        from google.protobuf import empty_pb2

        try:
            answer = self._stub.HealthCheck(empty_pb2.Empty(), timeout=self._timeout)
            return health_of(self._service, unary.fields_of(answer.SerializeToString()))
        except self._grpc.RpcError as err:
            raise self._unreachable(err) from None
        except unary.NoAnswer:
            raise Unreachable(f"`{self._service}`: {_NOT_OURS}", code="unimplemented") from None

    def _unreachable(self, error: grpc.RpcError) -> Unreachable:
        code = error.code().name
        details = str(error.details() or "").strip()
        if self._tunnel.failure:
            return Unreachable(f"`{self._service}`: {self._tunnel.failure}", code="tls")
        words = {
            "PERMISSION_DENIED": 'it does not let the operator in (add "operator" to its `allow:`)',
            "DEADLINE_EXCEEDED": _no_answer(self._timeout),
            "UNIMPLEMENTED": _NOT_OURS,
            "UNAVAILABLE": "its sidecar answers, but its runner does not (yet)",
        }.get(code, f"{code}: {details}")
        return Unreachable(f"`{self._service}`: {words}", code=code.lower())


def probe(
    service: str,
    *,
    address: Address = EDGE,
    secrets_dir: Path | str = "secrets",
    sni: str | None = None,
    timeout: float = 2.0,
    trust_domain: str = TRUST_DOMAIN,
    words: bool = True,
) -> Health:
    """Ask one service once. Never raises for a service that cannot be reached: that is a status, with its reason.

    ``words`` False is for who asks again anyway: a sidecar that answers for a runner that does not is then told without
    the reason, which takes gRPC's library.
    """
    where: dict[str, Any] = {
        "address": address,
        "secrets_dir": Path(secrets_dir),
        "sni": sni,
        "timeout": timeout,
        "trust_domain": trust_domain,
    }
    try:
        try:
            return health_of(service, unary.health_check(connect(service, **where), service))
        except TimeoutError:
            raise Unreachable(f"`{service}`: {_no_answer(timeout)}", code="deadline_exceeded") from None
        except (unary.NoAnswer, OSError):
            if not words:
                return Health(service, UNREACHABLE)
        with Client(service, **where) as client:
            return client.health()
    except Unreachable as err:
        return Health(service, UNREACHABLE, reason=err.message)


def health_of(service: str, fields: Mapping[int, int | bytes]) -> Health:
    """A HealthStatus' fields by number, as proto/controlplane.proto has them; raises unary.NoAnswer for nonsense."""
    try:
        number = {key: _number(fields.get(key, 0)) for key in (1, 3, 4, 5, 6)}
        since = {key: _number(value) for key, value in unary.fields_of(_bytes(fields.get(10, b""))).items()}
        return Health(
            service=service,
            status=unary.STATUS[number[1]],
            revision=_bytes(fields.get(7, b"")).decode(),
            reason=_bytes(fields.get(2, b"")).decode(),
            # Negative ones are sent with all 64 bits.
            exit_code=number[3] - (1 << 64 if number[3] >> 63 else 0) if 3 in fields else None,
            app_port=number[4] or None,
            kind=unary.KIND[number[5]],
            restarts=number[6],
            stack=_bytes(fields.get(9, b"")).decode(),
            since_ns=since.get(1, 0) * 10**9 + since.get(2, 0),
        )
    except (ValueError, IndexError):
        raise unary.NoAnswer from None


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("not a number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("not a text")
    return value


def _no_answer(timeout: float) -> str:
    return f"no answer within {timeout:g} s"


def ready(
    service: str,
    *,
    address: Address = EDGE,
    secrets_dir: Path | str = "secrets",
    sni: str | None = None,
    timeout: float = 2.0,
    trust_domain: str = TRUST_DOMAIN,
) -> bool:
    """Whether the sidecar passes requests on to the app: what its callers ask before they send any.

    The runner may know that the app listens some tenths of a second before Envoy does.
    """
    try:
        tls = connect(
            service,
            address,
            Path(secrets_dir),
            sni=sni,
            timeout=timeout,
            trust_domain=trust_domain,
            protocol="http/1.1",
        )
        return get_status(tls, service, "/.karst/ready") == 200
    except Unreachable:
        return False


def probe_all(services: list[str], **options: Any) -> list[Health]:
    """Ask several services at once; the answers come in their order. Options are those of `probe`."""
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(services)))) as pool:
        return list(pool.map(lambda service: probe(service, **options), services))


def parse_address(text: str) -> tuple[str, int]:
    """Split ``host:port``; raises KarstError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise KarstError(f"{text!r} is not HOST:PORT", hint="for example 127.0.0.1:15000", code="bad_address")
    return host.strip("[]"), int(port)
