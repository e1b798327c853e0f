"""Stand-in for a gRPC app: answers each call with a stream, ten messages of one byte, one each half second.

HTTP/2 by hand, since the image has no library for it. PORT and BIND say where.
"""

import os
import socketserver
import struct
import threading
import time

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def text(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        self.lock = threading.Lock()
        self.rfile.read(24)  # the preface
        self.send(SETTINGS, 0, 0)
        while len(head := self.rfile.read(9)) == 9:
            body = self.rfile.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.send(kind, ACK, 0, body if kind == PING else b"")
            elif kind == HEADERS:
                threading.Thread(target=self.stream, args=(stream,), daemon=True).start()

    def send(self, *parts):
        with self.lock:
            self.wfile.write(frame(*parts))

    def stream(self, number):
        self.send(HEADERS, END_HEADERS, number, b"\x88" + text(b"content-type", b"application/grpc"))
        for one in range(10):
            time.sleep(0.5)
            self.send(DATA, 0, number, b"\0\0\0\0\1" + bytes([one]))
        self.send(HEADERS, END_HEADERS | END_STREAM, number, text(b"grpc-status", b"0"))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


Server((os.environ["BIND"], int(os.environ["PORT"])), Connection).serve_forever()
