"""Knows the greeting. Only `web` may ask: the list says `allow: [web]`."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GREETING = "good morning"


class Greeter(BaseHTTPRequestHandler):
    """Answers every GET with the greeting."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        self.wfile.write(GREETING.encode())


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Greeter).serve_forever()
