"""One deployed stack for all tests of this folder: deploying is what takes the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.githost import GitHost
from tests.support.kit import Kit

HELLO = '''\
"""Serves one line over HTTP."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"version one"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Hello).serve_forever()


if __name__ == "__main__":
    main()
'''

# Asks another service through the sidecar, and shows that a secret arrives as a file.
CALLER = """\
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Caller(BaseHTTPRequestHandler):
    def do_GET(self):
        secret = Path("/run/secrets/CANARY").read_text()
        body = urllib.request.urlopen("http://hello/", timeout=5).read() + b" " + str(len(secret)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    # All interfaces on purpose: the pod's packet filter has to keep neighbours out.
    ThreadingHTTPServer(("0.0.0.0", 8000), Caller).serve_forever()


if __name__ == "__main__":
    main()
"""

JOB = 'def main():\n    print("forty-two")\n\n\nif __name__ == "__main__":\n    main()\n'
CANARY = "canary-5f2c91d07e"


@pytest.fixture(scope="session")
def git_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """A git host that serves gh:, gl: and bb: repositories over HTTP."""
    with GitHost(tmp_path_factory.mktemp("githost")) as host:
        host.create("gh:acme/hello", {"main.py": HELLO})
        host.create("gl:acme/web/caller", {"caller/__init__.py": "", "caller/__main__.py": CALLER})
        host.create("bb:acme/job", {"main.py": JOB})
        yield host


@pytest.fixture(scope="package")
def kit(git_host: GitHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """The stack, deployed once. Its removal after the last test has to leave nothing of it but list, lock and keys."""
    kit = Kit(
        tmp_path_factory.mktemp("stack"),
        env={
            **git_host.environment(),
            "CANARY": CANARY,
            "GITLAB_TOKEN": "gl-token-canary-77aa",
        },
    )
    kit.write_list(
        [
            "gh:acme/hello",
            {"slug": "gl:acme/web/caller", "secrets": ["CANARY"], "expose": True},
            "bb:acme/job",
        ]
    )
    with kit.deployed():
        yield kit
    assert (kit.secrets_dir / "ca.key").exists()
    assert (kit.home / "repos.lock.yaml").exists()
