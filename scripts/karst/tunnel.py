"""One mTLS connection to a service, checked by its SPIFFE identity, offered to gRPC as a private Unix socket.

Why not gRPC's own TLS: it has one name for three things (`ssl_target_name_override` is the SNI *and* the DNS name that
is checked), and knows nothing of URI SANs. Here SNI picks the generation (the edge routes by it: the pod's own name),
while the certificate must be the one of `spiffe://<trust domain>/svc/<service>` and carry no second URI. It also gives
the real reason of a failure, which gRPC reduces to UNAVAILABLE.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from karst import doors
from karst.errors import KarstError

BUFFER = 64 * 1024
TRUST_DOMAIN = "karst.local"


class Unreachable(KarstError):
    """There is no trusted connection to the service; the message says why in plain words."""


def spiffe_id(service: str, trust_domain: str = TRUST_DOMAIN) -> str:
    return f"spiffe://{trust_domain}/svc/{service}"


class Tunnel:
    """A context manager: `with Tunnel(…) as tunnel: grpc.insecure_channel(tunnel.target)`.

    Attributes:
        target: what gRPC connects to.
        failure: why the connection broke, once it did; else "".
    """

    def __init__(
        self,
        service: str,
        address: doors.Address,
        secrets_dir: Path,
        *,
        sni: str | None = None,
        timeout: float = 2.0,
        trust_domain: str = TRUST_DOMAIN,
    ) -> None:
        """Connect, shake hands and check the identity; raises Unreachable."""
        self.failure = ""
        self._tls = connect(
            service, address, secrets_dir, sni=sni, timeout=timeout, trust_domain=trust_domain, protocol="h2"
        )
        # gRPC cannot be given a socket, only a place: a folder that nobody else can enter.
        self._folder = tempfile.TemporaryDirectory(prefix="karst-")
        path = os.path.join(self._folder.name, "grpc")
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(path)
        self._door.listen(1)
        self.target = f"unix:{path}"
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._relay, name=f"tunnel-{service}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and remove the socket; may be called twice."""
        if self._stop_write >= 0:
            os.close(self._stop_write)
            self._stop_write = -1
            self._thread.join(5)
            self._folder.cleanup()

    # ---------------------------------------------------------------------------------------------------- the relay
    def _relay(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, self._stop_read)
            stack.callback(self._tls.close)
            stack.callback(self._door.close)
            ready = _readable(self._door, self._stop_read)
            if self._stop_read in ready:
                return
            local, _ = self._door.accept()
            stack.callback(local.close)
            try:
                self._pass(local)
            except (ssl.SSLError, OSError) as err:
                self.failure = in_words(err)

    def _pass(self, local: socket.socket) -> None:
        """Copy both ways until either side ends.

        The TLS side is read without blocking, written with: what gRPC sends is small, what comes back may be a flood.
        """
        self._tls.setblocking(False)
        spoke = False
        while True:
            # OpenSSL may hold bytes that the socket no longer shows.
            ready = [self._tls, *_readable(local, self._stop_read, wait=False)] if self._tls.pending() else []
            ready = ready or _readable(local, self._tls, self._stop_read)
            if self._stop_read in ready:
                return
            if self._tls in ready:
                try:
                    data = self._tls.recv(BUFFER)
                    if not data:
                        # In TLS 1.3 our side is done before the server has looked at our certificate.
                        after = "" if spoke else " right after the handshake: it refused our certificate, most likely"
                        self.failure = f"it closed the connection{after}"
                        return
                    spoke = True
                    local.sendall(data)
                except ssl.SSLWantReadError:
                    pass
            if local in ready:
                data = local.recv(BUFFER)
                if not data:
                    return
                self._send(data)

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._tls.send(view) :]
            except ssl.SSLWantWriteError:
                select.select([], [self._tls], [])
            except ssl.SSLWantReadError:
                select.select([self._tls], [], [])


def _readable(*ends: Any, wait: bool = True) -> list[Any]:
    return select.select(ends, [], [], None if wait else 0)[0]


def connect(
    service: str,
    address: doors.Address,
    secrets_dir: Path,
    *,
    sni: str | None = None,
    timeout: float = 2.0,
    trust_domain: str = TRUST_DOMAIN,
    protocol: str = "h2",
) -> ssl.SSLSocket:
    """Connect, shake hands and check the server's identity; ``protocol`` is h2 or http/1.1. Raises Unreachable."""
    name = f"`{service}` at {address[0]}:{address[1]}"
    tls = _shake_hands(client_context(secrets_dir, protocol), name, address, sni or service, timeout, secrets_dir)
    try:
        names: Any = (tls.getpeercert() or {}).get("subjectAltName", ())
        identities = [value for kind, value in names if kind == "URI"]
        wanted = spiffe_id(service, trust_domain)
        if identities != [wanted]:
            found = ", ".join(map(str, identities)) or "no identity"
            raise Unreachable(f"{name}: its certificate says {found}, not {wanted}", code="wrong_identity")
    except BaseException:
        tls.close()
        raise
    return tls


def _shake_hands(
    context: ssl.SSLContext, name: str, address: doors.Address, sni: str, timeout: float, secrets_dir: Path
) -> ssl.SSLSocket:
    try:
        raw = doors.connect(address, timeout)
    except ConnectionRefusedError:
        raise Unreachable(
            f"{name}: connection refused: nothing listens there (is the edge up?)", code="refused"
        ) from None
    except TimeoutError:
        raise Unreachable(f"{name}: no connection within {timeout:g} s", code="timeout") from None
    except OSError as err:
        raise Unreachable(f"{name}: {err.strerror or err}", code="unreachable") from None
    try:
        if raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(raw, server_hostname=sni)
    except ssl.SSLCertVerificationError as err:
        raw.close()
        ca = secrets_dir / "ca.pem"
        raise Unreachable(
            f"{name}: its certificate is not trusted by {ca} ({err.verify_message})", code="untrusted"
        ) from None
    except TimeoutError:
        raw.close()
        raise Unreachable(f"{name}: no TLS answer within {timeout:g} s", code="timeout") from None
    except (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError):
        # The edge closes at once when it cannot resolve the name, or when its sidecar does not listen.
        raw.close()
        raise Unreachable(
            f"{name}: closed before TLS began: no running service answers to that name", code="closed"
        ) from None
    except (ssl.SSLError, OSError) as err:
        raw.close()
        raise Unreachable(f"{name}: {in_words(err)}", code="tls") from None


def get_status(tls: ssl.SSLSocket, service: str, path: str) -> int:
    """Ask ``path`` by one HTTP/1.1 GET on a connection made for it, and return the status; raises Unreachable.

    Without http.client, whose import costs more than the request.
    """
    answer = b""
    with contextlib.closing(tls):
        try:
            tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n\r\n".encode())
            while b"\r\n" not in answer and len(answer) < BUFFER and (part := tls.recv(BUFFER)):
                answer += part
        except OSError as err:
            raise Unreachable(f"`{service}`: {in_words(err)}", code="no_answer") from None
    line = answer.partition(b"\r\n")[0].split(b" ")
    if not line[0].startswith(b"HTTP/1.") or len(line) < 2 or not line[1].isdigit():
        raise Unreachable(f"`{service}`: it did not answer in HTTP", code="no_answer")
    return int(line[1])


def get(tls: ssl.SSLSocket, service: str, path: str) -> tuple[int, bytes]:
    """The status of such a GET, and the answer's body."""
    import http.client

    connection = http.client.HTTPConnection(service)
    connection.sock = tls
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as err:
        words = in_words(err) if isinstance(err, OSError) else "it did not answer in HTTP"
        raise Unreachable(f"`{service}`: {words}", code="no_answer") from None
    finally:
        connection.close()


def client_context(secrets_dir: Path, protocol: str = "h2") -> ssl.SSLContext:
    """TLS 1.3 as the operator, trusting the mesh's CA alone; raises Unreachable when a file is missing or wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the identity is the URI, see connect(); SNI may be a pod's own name
    context.set_alpn_protocols([protocol])
    hint = "the identities are made by the first `make apply`; or say where they are with --secrets"
    try:
        context.load_verify_locations(secrets_dir / "ca.pem")
        _load_operator(context, secrets_dir)
    except FileNotFoundError:
        names = ("ca.pem", "operator.crt", "operator.key")
        missing = next((name for name in names if not (secrets_dir / name).exists()), names[0])
        raise Unreachable(f"{secrets_dir / missing} does not exist", hint=hint, code="no_identity") from None
    except PermissionError as err:
        raise Unreachable(f"may not read {secrets_dir}: {err.strerror}", code="no_identity") from None
    except ssl.SSLError as err:
        raise Unreachable(
            f"the operator's certificate and key in {secrets_dir} are not usable: {in_words(err)}", code="bad_identity"
        ) from None
    return context


def _load_operator(context: ssl.SSLContext, secrets_dir: Path) -> None:
    """Load the pair; it is two files, and a rotation between the two reads is over a moment later."""
    for last in (False, False, True):
        try:
            context.load_cert_chain(secrets_dir / "operator.crt", secrets_dir / "operator.key")
            return
        except ssl.SSLError as err:
            if last or err.reason != "KEY_VALUES_MISMATCH":
                raise
            time.sleep(0.1)


_ALERTS = {
    "CERTIFICATE_REQUIRED": "it wants a client certificate and got none",
    "UNKNOWN_CA": "it does not trust the CA of our certificate",
    "CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "BAD_CERTIFICATE": "it refused our certificate",
    "CERTIFICATE_UNKNOWN": "it refused our certificate",
    "PROTOCOL_VERSION": "it does not speak TLS 1.3",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "KEY_VALUES_MISMATCH": "they do not belong together",
}


def in_words(error: OSError) -> str:
    """OpenSSL's reason as the end of a sentence."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        for key, words in _ALERTS.items():
            if key in reason:
                return words
        return (reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error) or type(error).__name__
