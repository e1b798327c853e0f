"""The names an identity goes by: service name, SPIFFE URI, DNS names, files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from karst.errors import UsageError

SERVICE_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
OPS = ("ops/edge", "ops/operator", "ops/admin")
# Nobody connects to the other tools by a name of theirs; the admin app serves gRPC under this one.
_OPS_DNS = {"ops/admin": ("ops-admin",)}
# `ca.key` is the authority's and `operator.key` the operator's; `mesh/ops-edge` is the edge's folder.
RESERVED = frozenset({"ca", "operator", *(name.replace("/", "-") for name in OPS)})
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,250}[a-z0-9])?")  # the SPIFFE ID standard, section 2.1


@dataclass(frozen=True)
class Identity:
    """One identity of the mesh.

    Attributes:
        name: a service's name, ``ops/edge``, ``ops/operator`` or ``ops/admin``.
        uri: the one SPIFFE URI of its certificate; what Envoy's rules compare.
        dns: the DNS names of its certificate; none for edge and operator, which nobody connects to.
    """

    name: str
    uri: str
    dns: tuple[str, ...]

    @classmethod
    def parse(cls, name: object, *, network: str, trust_domain: str) -> Identity:
        """Raise UsageError for anything that could become a strange path, name or URI."""
        if not _TRUST_DOMAIN.fullmatch(trust_domain):
            raise UsageError(
                f"`{trust_domain}` is not a trust domain (example: `karst.local`)", code="bad_trust_domain"
            )
        if name in OPS:
            return cls(str(name), f"spiffe://{trust_domain}/{name}", _OPS_DNS.get(str(name), ()))
        if not isinstance(name, str) or not SERVICE_NAME.fullmatch(name):
            raise UsageError(
                f"`{name}` is not a service name",
                hint="2 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -; or one of "
                + ", ".join(OPS),
                code="bad_name",
            )
        if name in RESERVED:
            raise UsageError(
                f"a service cannot be called `{name}`: its key files would be those of the kit itself",
                hint="give it another `name:` in the list",
                code="reserved_name",
            )
        if not _HOST.fullmatch(network):
            raise UsageError(f"`{network}` is not a network name (example: `iacnet`)", code="bad_network")
        return cls(name, f"spiffe://{trust_domain}/svc/{name}", (name, f"{name}.{network}"))

    @property
    def trust_domain(self) -> str:
        return self.uri.removeprefix("spiffe://").partition("/")[0]

    @property
    def folder(self) -> str:
        return folder(self.name)

    @property
    def file(self) -> str:
        """The stem of ``<secrets>/<stem>.crt`` and ``.key``, for people and tools; "" for edge and admin app."""
        return {"ops/operator": "operator", "ops/edge": "", "ops/admin": ""}.get(self.name, self.name)


def folder(name: str) -> str:
    """The folder under ``<secrets>/mesh`` that the sidecar of this identity is given."""
    return name.replace("/", "-")
