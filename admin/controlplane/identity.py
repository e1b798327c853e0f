"""Who the gRPC server is and whom it lets in, both from the mesh's own authority.

The server shows `ops/admin`; the caller must be `ops/operator` and nobody else: each call looks at the certificate of
its connection again, because gRPC itself checks no more than who signed it.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509

from karst.errors import KarstError
from karst.identity.leaf import names_only
from karst.identity.names import Identity
from karst.identity.settings import lifetime
from karst.identity.store import Store
from karst.tunnel import TRUST_DOMAIN

if TYPE_CHECKING:
    import grpc

log = logging.getLogger("karst.admin")

SERVER, OPERATOR = "ops/admin", "ops/operator"


@dataclass(frozen=True)
class Caller:
    """The operator, as the certificate of the connection says: its URI, and until when (seconds since the epoch)."""

    uri: str
    expires: float


class Identities:
    """Certificates of one secrets folder: the server's own, kept fresh, and the check of the caller's."""

    def __init__(self, secrets: Path) -> None:
        self._secrets = secrets
        domain = next(
            (one.trust_domain for one in Store(secrets).known() if one.name == OPERATOR), TRUST_DOMAIN
        )  # a stack may have a trust domain of its own
        self._server, self.operator = (
            Identity.parse(name, network="iacnet", trust_domain=domain) for name in (SERVER, OPERATOR)
        )
        self._folder = secrets / "mesh" / self._server.folder
        self._seen: tuple[bytes, bytes] | None = None

    def renew(self) -> None:
        """Make or renew what is due: the server's certificate and the operator's. Raises KarstError."""
        store = Store(self._secrets, lifetime=lifetime())
        with store.locked():
            store.ensure([self.operator, self._server])

    def credentials(self) -> grpc.ServerCredentials:
        """TLS with a client certificate required; the files are looked at again at every handshake."""
        import grpc

        first = self._changed()
        if first is None:
            raise KarstError(f"{self._folder} holds no certificate", code="no_identities")
        # None means "as before", which grpc's documentation says and its types do not.
        fetch: Any = self._changed
        return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=True)

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What to use from now on; None for what was used before, also when the files cannot be read."""
        import grpc

        try:
            svid, bundle = (self._folder / "svid.pem").read_bytes(), (self._folder / "ca.pem").read_bytes()
        except OSError as err:
            log.error("the gRPC server's certificate cannot be read: %s", err)
            return None
        if (svid, bundle) == self._seen:
            return None
        chain, begin, key = svid.partition(b"-----BEGIN PRIVATE")
        if not begin:
            return None
        self._seen = (svid, bundle)
        return grpc.ssl_server_certificate_configuration([(begin + key, chain)], root_certificates=bundle)

    def caller(self, auth_context: Any) -> Caller | None:
        """The operator when the connection is theirs; None for everybody else, and once the certificate has ended."""
        shown = auth_context.get("x509_pem_cert") or []
        if len(shown) != 1:
            return None
        certificate = _parse(bytes(shown[0]))
        now = dt.datetime.now(dt.UTC)
        if certificate is None or not names_only(certificate, self.operator):
            return None
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            return None
        return Caller(self.operator.uri, certificate.not_valid_after_utc.timestamp())


@functools.lru_cache(maxsize=64)
def _parse(pem: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None
