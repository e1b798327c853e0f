"""The pieces of docs/calling.md, taken from the page and run in deployed apps: each client reaches another service."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest

from tests.support.kit import ROOT, Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("stack")]

CLIENTS = ["requests", "httpx", "aiohttp", "gRPC client"]
SHOP = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        caller = self.headers["x-forwarded-client-cert"].rpartition("URI=")[2]
        body = ("3.50 for " + caller).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
if __name__ == "__main__": ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Shop).serve_forever()
"""
# /<module> imports that piece and calls its ask(); /elsewhere?<client>=<url> asks something outside of the mesh.
CALLER = """
import importlib, os, traceback, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def elsewhere(client, url):
    if client == "grpc":
        import grpc
        host = url.partition("//")[2]
        with grpc.insecure_channel(host) as channel:
            return channel.unary_unary("/shop.v1.Prices/Get")(b"", timeout=5).decode()
    module = importlib.import_module(client)
    return module.get(url, verify=False, timeout=5).text

class Caller(BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path[1:].partition("?")
        try:
            if path == "elsewhere":
                [(client, url)] = urllib.parse.parse_qsl(query)
                status, body = 200, elsewhere(client, url)
            else:
                status, body = 200, importlib.import_module(path).ask()
        except Exception:
            status, body = 500, traceback.format_exc()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

if __name__ == "__main__": ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Caller).serve_forever()
"""


def piece(title: str) -> str:
    """The block of Python below a heading of the page."""
    text = (ROOT / "docs" / "calling.md").read_text()
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    [code] = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(code)


def module(title: str) -> str:
    return "piece_" + title.lower().replace(" ", "_")


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("calling")
    kit = Kit(folder)
    files = {
        "shop/main.py": SHOP,
        "prices/main.py": piece("gRPC server"),
        "prices/requirements.txt": "grpcio\n",
        "caller/main.py": CALLER,
        "caller/requirements.txt": "requests\nhttpx\naiohttp\ngrpcio\n",
        **{f"caller/{module(title)}.py": piece(title) for title in CLIENTS},
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    kit.write_list(["dir:shop", "dir:prices", {"slug": "dir:caller", "expose": True}])
    try:
        kit.deploy()
        yield kit
    finally:
        kit.destroy()


def ask(kit: Kit, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", kit.ports["front_door"], timeout=20)
    connection.request("GET", path, headers={"Host": f"caller.localhost:{kit.ports['front_door']}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize("title", CLIENTS)
def test_a_piece_of_the_page_reaches_the_service_as_this_caller(kit: Kit, title: str) -> None:
    """mTLS is what tells the service who called: the identity comes from the certificate."""
    assert ask(kit, f"/{module(title)}") == (200, "3.50 for spiffe://karst.local/svc/caller")


def test_the_calls_went_through_the_sidecar(kit: Kit) -> None:
    for title in CLIENTS:
        assert ask(kit, f"/{module(title)}")[0] == 200
    edges = {(edge["from"], edge["to"]): edge for edge in json.loads(kit.iac("graph", "--json").stdout)["edges"]}
    assert edges["caller", "shop"]["requests"] >= 3
    assert edges["caller", "prices"]["requests"] >= 1
    assert (edges["caller", "shop"]["errors"], edges["caller", "prices"]["errors"]) == (0, 0)


class _Outside(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"outside"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def outside(kit: Kit, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Three servers on this host, at the address that the stack's network has of it: by scheme."""
    subnet = docker("network", "inspect", f"iacnet-{kit.stack}", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    host = subnet.partition("/")[0]
    key = tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={host}"),
            *("-keyout", str(key), "-out", str(tmp_path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    servers = {scheme: ThreadingHTTPServer((host, 0), _Outside) for scheme in ("http", "https")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", key)
    servers["https"].socket = context.wrap_socket(servers["https"].socket, server_side=True)
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    answerer = grpc.server(futures.ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(lambda request, context: b"outside")
    answerer.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.v1.Prices", {"Get": method})])
    port = answerer.add_insecure_port(f"{host}:0")
    answerer.start()
    urls = {scheme: f"{scheme}://{host}:{server.server_address[1]}/" for scheme, server in servers.items()}
    yield {**urls, "grpc": f"grpc://{host}:{port}"}
    answerer.stop(None).wait()
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("client", "scheme"),
    [("requests", "https"), ("requests", "http"), ("httpx", "https"), ("httpx", "http"), ("grpc", "grpc")],
)
def test_what_is_not_of_the_mesh_is_reached_as_without_it(
    kit: Kit, outside: dict[str, str], client: str, scheme: str
) -> None:
    assert ask(kit, f"/elsewhere?{client}={outside[scheme]}") == (200, "outside")
