"""HealthCheck on a TLS connection without the gRPC library, whose import takes longer than a hundred such calls.

One unary call of gRPC over HTTP/2: one stream, no compression, headers as literals. What comes back is read only as far
as it is needed: a message is the answer, and no message is none. Why there is none is said in the trailers, which are
packed with HPACK: who wants to know asks again with the library (karst.probe.Client).
"""

from __future__ import annotations

import contextlib
import ssl
import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHOD = b"/karst.v1.ControlPlane/HealthCheck"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7  # RFC 9113, section 6
_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8
_LARGEST = 1 << 16  # a HealthStatus is some hundred bytes

#: Numbers of proto/controlplane.proto.
STATUS = ("UNKNOWN", "SERVING", "NOT_SERVING", "STARTING", "COMPLETED", "FAILED")
KIND = ("undecided", "server", "job", "worker")


class NoAnswer(Exception):
    """The other side ended the call without a message, or does not speak HTTP/2 as expected."""


def health_check(tls: ssl.SSLSocket, service: str) -> dict[int, int | bytes]:
    """Ask on a fresh connection, which is closed afterwards; the fields of the HealthStatus by number.

    Raises NoAnswer, or OSError when the connection breaks or its timeout is over.
    """
    with contextlib.closing(tls):
        tls.sendall(_request(service))
        message = b""
        for kind, flags, stream, body in _frames(tls):
            if kind == _SETTINGS and not flags & _ACK:
                tls.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                tls.sendall(_frame(_PING, _ACK, 0, body))
            elif kind in (_RST, _GOAWAY):
                break
            elif stream == 1 and kind == _DATA:
                message += body[1 : len(body) - body[0]] if flags & _PADDED else body
                if len(message) > _LARGEST:
                    break
            if stream == 1 and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                return _unpacked(message)
    raise NoAnswer


def _request(service: str) -> bytes:
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", METHOD),
        (b":authority", service.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    # Literal header fields that are never indexed, lengths of one byte (RFC 7541, 6.2.3): all are shorter than 127.
    block = b"".join(b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    empty = b"\x00" + struct.pack(">I", 0)  # google.protobuf.Empty, not compressed
    return b"".join(
        (
            PREFACE,
            _frame(_SETTINGS, 0, 0, b""),
            _frame(_HEADERS, _END_HEADERS, 1, block),
            _frame(_DATA, _END_STREAM, 1, empty),
        )
    )


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def _frames(tls: ssl.SSLSocket) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and body of each frame until the connection ends."""
    rest = b""
    while True:
        while len(rest) >= 9 and len(rest) >= (end := 9 + int.from_bytes(rest[:3], "big")):
            yield rest[3], rest[4], int.from_bytes(rest[5:9], "big") & 0x7FFFFFFF, rest[9:end]
            rest = rest[end:]
        if len(rest) > 2 * _LARGEST:
            return
        part = tls.recv(_LARGEST)
        if not part:
            return
        rest += part


def _unpacked(message: bytes) -> dict[int, int | bytes]:
    """The one message of the stream, not compressed."""
    if len(message) < 5 or message[0] or len(message) != 5 + int.from_bytes(message[1:5], "big"):
        raise NoAnswer
    try:
        return fields_of(message[5:])
    except (IndexError, ValueError):
        raise NoAnswer from None


def fields_of(body: bytes) -> dict[int, int | bytes]:
    """A protobuf message's fields by number, the last of each; ValueError or IndexError when it is none."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        kind = key & 7
        if kind == 0:
            found[key >> 3], at = _varint(body, at)
        elif kind == 2:
            size, at = _varint(body, at)
            if at + size > len(body):
                raise ValueError("cut off")
            found[key >> 3], at = body[at : at + size], at + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
    return found


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a varint of more than ten bytes")
