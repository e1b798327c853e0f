"""Stand-in for an app: says what it was asked. PORT and BIND say where; /slow?2 takes two seconds.

/events?10,0.5 sends ten server-sent events, one each half second.

A request to become a WebSocket is granted, and the first bytes after that are sent back in capitals.
"""

import http.server
import json
import os
import socket
import time


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.wfile.write(self.connection.recv(100).upper())
            self.close_connection = True
            return
        if self.path.startswith("/events?"):
            self.send_events(*self.path.split("?")[1].split(","))
            return
        if self.path.startswith("/slow?"):
            time.sleep(float(self.path.split("?")[1]))
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"me": os.environ["ME"], "path": self.path, "headers": headers, "body": self.rfile.read(length).decode()}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def send_events(self, number, seconds):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for one in range(int(number)):
            time.sleep(float(seconds))
            self.wfile.write(f"data: {one}\n\n".encode())
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in os.environ["BIND"] else socket.AF_INET


Server((os.environ["BIND"], int(os.environ["PORT"])), Echo).serve_forever()
