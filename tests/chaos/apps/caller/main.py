"""A service that calls others: load.py beside it does that when it is told to. This part only keeps the pod up."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Idle(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()


def main():
    HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Idle).serve_forever()


if __name__ == "__main__":
    main()
