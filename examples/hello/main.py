"""The smallest thing that the kit deploys: a main() that serves HTTP with the standard library."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    """Answers every GET with one line."""

    def do_GET(self) -> None:
        body = f"hello from {os.environ.get('KARST_SERVICE', 'nowhere')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until told to stop."""
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
    print(f"listening on {address[0]}:{address[1]}", flush=True)
    ThreadingHTTPServer(address, Hello).serve_forever()


if __name__ == "__main__":
    main()
