"""Stands for a service of yours; in a real list it would be a slug such as `gh:acme/api#v1.2.0`."""

from http.server import HTTPServer, SimpleHTTPRequestHandler

HTTPServer(("127.0.0.1", 8123), SimpleHTTPRequestHandler).serve_forever()
