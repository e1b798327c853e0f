"""Asks `http://greeter` on every request, through its sidecar: HTTP_PROXY is set for urllib as for requests."""

import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web(BaseHTTPRequestHandler):
    """Passes the greeting on."""

    def do_GET(self) -> None:
        with urllib.request.urlopen("http://greeter/", timeout=5) as answer:
            body = b"web says: " + answer.read() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Web).serve_forever()
