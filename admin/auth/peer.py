"""Callers on the Unix socket, known by what the kernel says about their process (``SO_PEERCRED``).

Off unless KARST_ADMIN_PEER_UIDS or KARST_ADMIN_PEER_GIDS lists somebody; a token, when sent, is still checked.
"""

from __future__ import annotations

import grp
import pwd
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from admin.auth.authenticate import Principal
from admin.auth.roles import Role, parse_grants
from karst.errors import UsageError

_UCRED = struct.Struct("3i")
# Linux only and not in Python's socket module: the supplementary groups of the peer (asm-generic/socket.h).
_SO_PEERGROUPS = 59
_MAX_GROUPS = 256


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a Unix socket when it connected."""

    pid: int
    uid: int
    gids: frozenset[int]


@dataclass(frozen=True)
class PeerGrants:
    """Which uids and gids may come without a token, and as what."""

    uids: Mapping[int, Role] = field(default_factory=dict)
    gids: Mapping[int, Role] = field(default_factory=dict)

    def principal(self, peer: Peer | None) -> Principal | None:
        if peer is None:
            return None
        roles = [role for gid, role in self.gids.items() if gid in peer.gids]
        if peer.uid in self.uids:
            roles.append(self.uids[peer.uid])
        return Principal(f"uid:{peer.uid}", max(roles), f"uid {peer.uid}") if roles else None


def parse_peers(uids: str, gids: str) -> PeerGrants:
    """Parse ``1000=deployer, root=admin``; raise UsageError for a name this machine does not know."""
    return PeerGrants(
        _ids(uids, "KARST_ADMIN_PEER_UIDS", lambda name: pwd.getpwnam(name).pw_uid),
        _ids(gids, "KARST_ADMIN_PEER_GIDS", lambda name: grp.getgrnam(name).gr_gid),
    )


def _ids(text: str, setting: str, by_name: Callable[[str], int]) -> dict[int, Role]:
    result: dict[int, Role] = {}
    for who, role in parse_grants(text, setting).items():
        try:
            result[int(who) if who.isdigit() else by_name(who)] = role
        except KeyError:
            raise UsageError(f"{setting}: this machine knows no {who!r}", code="bad_setting") from None
    return result


def peer_of(connection: socket.socket) -> Peer | None:
    """Ask the kernel who connected; None where it cannot tell (not Linux, not a Unix socket)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or connection.family != socket.AF_UNIX:
        return None
    try:
        pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    except OSError:
        return None
    groups = {gid}
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MAX_GROUPS)
        groups.update(struct.unpack(f"{len(raw) // 4}I", raw))
    except OSError:
        pass  # an old kernel, or more groups than fit: the primary group still counts
    return Peer(pid, uid, frozenset(groups))
