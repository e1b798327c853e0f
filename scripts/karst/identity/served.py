"""What each running Envoy of a stack really uses, asked from the Envoy itself.

A sidecar is asked through the edge, by the name of its pod's container: the handshake shows the certificate, and
`/.karst/certs` (Envoy's own list) shows what every one of its TLS contexts holds, those towards other services too. The
edge, which nobody connects to by TLS, shows the same at its port for figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from karst import containers, doors
from karst.containers import Member
from karst.identity.names import Identity
from karst.stack import Stack
from karst.tunnel import Unreachable, connect, get

TIMEOUT = 5.0


@dataclass(frozen=True)
class Seen:
    """One running Envoy.

    Attributes:
        identity: whose it is.
        where: name of the container that has it on the network.
        serials: serial numbers of the certificates it shows; one, unless it is in the middle of a change.
        roots: serial number of the first certificate of each trust bundle that it holds; empty when it does not tell.
        problem: why it could not be asked, or "".
    """

    identity: str
    where: str
    serials: frozenset[int] = frozenset()
    roots: frozenset[int] = frozenset()
    problem: str = ""


def running(stack: Stack) -> list[Member]:
    """The edge, and the namesake container of each pod whose sidecar runs; raises KarstError without Docker."""
    with containers.engine() as docker:
        members = containers.members(docker, stack.name)
    # A paused one goes on one day with what it has in memory; any other that is stopped will read the files anew.
    alive = [member for member in members if member.state in ("running", "paused")]
    with_sidecar = {member.pod_id for member in alive if member.role == "sidecar"}
    return [m for m in alive if m.role == "edge" or (m.role == "pod" and m.id in with_sidecar)]


def others(stack: Stack) -> list[str]:
    """Names of other stacks on this engine whose sidecars mount the same secrets folder."""
    with containers.engine() as docker:
        rows = docker.api.containers(all=True, filters={"label": [f"{containers.ROLE}=sidecar"]})
    mounted = f"{stack.secrets_dir}/mesh/"
    sharing = {
        row["Labels"].get(containers.STACK, "")
        for row in rows
        if any((mount.get("Source") or "").startswith(mounted) for mount in row.get("Mounts") or ())
    }
    return sorted(sharing - {stack.name})


def ask(stack: Stack, members: Iterable[Member], identities: Iterable[Identity]) -> list[Seen]:
    """Ask all of ``members`` whose identity is among ``identities``, at once."""
    known = {identity.name: identity for identity in identities}
    wanted = [(member, known.get(_name(member))) for member in members]
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(lambda pair: _ask(stack, *pair), [(m, i) for m, i in wanted if i is not None]))


def _name(member: Member) -> str:
    return "ops/edge" if member.role == "edge" else member.service


def _ask(stack: Stack, member: Member, identity: Identity) -> Seen:
    try:
        if member.role == "edge":
            return _parse(identity, member.name, *_edge(stack))
        return _sidecar(stack, member, identity, stack.secrets_dir)
    except Unreachable as err:
        return Seen(identity.name, member.name, problem=err.message)


def _sidecar(stack: Stack, member: Member, identity: Identity, secrets: Path) -> Seen:
    tls = connect(
        identity.name,
        stack.edge,
        secrets,
        sni=member.name,
        timeout=TIMEOUT,
        trust_domain=identity.trust_domain,
        protocol="http/1.1",
    )
    shown = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").serial_number
    status, body = get(tls, identity.name, "/.karst/certs")
    if status != 200:  # a sidecar from before this question existed: the handshake has to do
        return Seen(identity.name, member.name, frozenset({shown}))
    seen = _parse(identity, member.name, status, body)
    return Seen(seen.identity, seen.where, seen.serials | {shown}, seen.roots, seen.problem)


def _edge(stack: Stack) -> tuple[int, bytes]:
    try:
        return doors.get(stack.metrics, "/certs", TIMEOUT)
    except OSError as err:
        raise Unreachable(f"the edge does not answer at 127.0.0.1:{stack.ports['metrics']} ({err})") from None


def _parse(identity: Identity, where: str, status: int, body: bytes) -> Seen:
    """Read Envoy's `/certs`: per TLS context, the certificates it shows and the first one of those it trusts."""
    if status != 200:
        return Seen(identity.name, where, problem=f"it does not tell what it uses (HTTP {status}); a deploy renews it")
    try:
        contexts = json.loads(body)["certificates"]
        serials = {int(one["serial_number"], 16) for context in contexts for one in context["cert_chain"][:1]}
        roots = {int(one["serial_number"], 16) for context in contexts for one in context["ca_cert"][:1]}
    except (ValueError, KeyError, TypeError):
        return Seen(identity.name, where, problem="its list of certificates is not readable")
    return Seen(identity.name, where, frozenset(serials), frozenset(roots))
