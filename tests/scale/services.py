"""A list of as many services as wanted, each a folder of its own with code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from karst.files import cache_dir
from tests.support.kit import Kit

CALLERS = 900  # an Envoy's configuration has room for some more (docs/scale.md)
# What a list's services leave in the cache; the rest of it is the toolchain.
_OF_SERVICES = ("src", "detect", "render", "build", "locks")

APP = '''\
"""Service {number} of many."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"{number} v{version}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()


if __name__ == "__main__":
    main()
'''


def cache_of(folder: Path) -> dict[str, str]:
    """The environment for a cache in ``folder``: a new one has the machine's toolchain and nothing of a service."""
    if not folder.exists():
        folder.mkdir()
        for path in cache_dir().iterdir():
            if path.name not in _OF_SERVICES:
                (folder / path.name).symlink_to(path)
    return {"KARST_CACHE": str(folder)}


def name(number: int) -> str:
    return f"svc-{number:04}"


def write(kit: Kit, count: int, *, allow: bool = True) -> None:
    """Folders and list of ``count`` services; with ``allow`` the first one names up to 900 that may call it."""
    for number in range(1, count + 1):
        write_app(kit, number)
    entries: list[Any] = [f"dir:{name(number)}" for number in range(2, count + 1)]
    first: dict[str, Any] = {"slug": f"dir:{name(1)}"}
    if allow:
        first["allow"] = [name(number) for number in range(2, min(count, CALLERS) + 1)]
    kit.write_list([first, *entries])


def write_app(kit: Kit, number: int, version: int = 1) -> None:
    folder: Path = kit.home / name(number)
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(APP.format(number=number, version=version))
