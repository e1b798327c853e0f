"""A real git host on 127.0.0.1: ``git http-backend``, and archives where GitHub, GitLab and Bitbucket have them.

In a test: ``with GitHost(folder) as host: host.create("gh:acme/hello", {"main.py": "…"})`` and the environment of
``host.environment()``. As a process of its own:

    python -m tests.support.githost --root DIR --add gh:acme/hello=FOLDER --private gh:acme/hello=TOKEN --env-file FILE

Below the base URL, ``/gh``, ``/gl`` and ``/bb`` are three hosts; each answers as the real one does (a private
repository of GitHub is a 404 on the web and a 401 for git, and so on).
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.gitrepos import ENV, EPOCH, KINDS, OPTIONS, Options, Repositories, git

EPOCH_ENV = {"GIT_COMMITTER_DATE": f"{EPOCH} +0000"}


@dataclass
class Request:
    """One line of the host's log."""

    method: str
    path: str
    status: int = 0
    authorization: str = ""
    port: int = 0


class GitHost(Repositories):
    """The server and the bare repositories below ``root``.

    Attributes:
        log: every request so far.
        peak: the most requests that were under way at once.
        certificate: key and certificate in one file: speak https with it.
        reject_tokens: answer 401 to any Authorization header that opens nothing, as hosts do for an expired token.
    """

    def __init__(self, root: Path, port: int = 0, certificate: Path | None = None) -> None:
        super().__init__(root)
        self.certificate = certificate
        self.port = port
        self.log: list[Request] = []
        self.tickets: dict[str, str] = {}
        self.reject_tokens = False
        self.active = self.peak = 0
        self._lock = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []

    def start(self) -> GitHost:
        """Listen: one port for everything, and a second one (another origin) where GitHub's archives really are."""
        for port in (self.port, 0):
            server = _Server(("127.0.0.1", port), _Handler)
            server.githost = self  # type: ignore[attr-defined]
            if self.certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.port = self._servers[0].server_address[1]
        return self

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers.clear()

    def __enter__(self) -> GitHost:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def archive_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._servers[1].server_address[1]}"

    @property
    def _scheme(self) -> str:
        return "https" if self.certificate else "http"

    def environment(self) -> dict[str, str]:
        """What makes the kit use this host for gh:, gl: and bb: slugs."""
        return {f"KARST_{kind.upper()}_URL": f"{self.url}/{kind}" for kind in KINDS} | {
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def paths(self) -> list[str]:
        """Paths of all requests so far, without their query."""
        return [request.path.split("?")[0] for request in self.log]


_ARCHIVES = {
    "gh": re.compile(r"/(?P<repo>[^/]+/[^/]+)/archive/(?P<sha>[^/]+)\.tar\.gz"),
    "gl": re.compile(r"/(?P<repo>.+)/-/archive/(?P<sha>[^/]+)/[^/]+\.tar\.gz"),
    "bb": re.compile(r"/(?P<repo>[^/]+/[^/]+)/get/(?P<sha>[^/]+)\.tar\.gz"),
    "codeload": re.compile(r"/(?P<repo>[^/]+/[^/]+)/tar\.gz/(?P<sha>[^/]+)"),
}
_PRIVATE_WEB = {"gh": 404, "gl": 302, "bb": 404, "codeload": 404}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that hangs up in the middle is no event."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            raise


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "githost"

    @property
    def host(self) -> GitHost:
        return self.server.githost  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def _route(self) -> None:
        with self.host._lock:
            self.host.active += 1
            self.host.peak = max(self.host.peak, self.host.active)
        try:
            self._dispatch()
        finally:
            with self.host._lock:
                self.host.active -= 1

    def _dispatch(self) -> None:
        self.entry = Request(
            self.command, self.path, 0, self.headers.get("Authorization", ""), self.server.server_address[1]
        )
        with self.host._lock:
            self.host.log.append(self.entry)
        split = urlsplit(self.path)
        if split.path == "/_log":
            self._send(200, json.dumps([asdict(entry) for entry in self.host.log[:-1]]).encode(), "application/json")
            return
        _, kind, rest = ([*split.path.split("/", 2), "", ""])[:3]
        match = _ARCHIVES.get(kind, re.compile("$.")).fullmatch(f"/{rest}")
        batch = re.fullmatch(r"(.+?)(?:\.git)?/info/lfs/objects/batch", rest)
        smart = re.fullmatch(r"(.+?)(?:\.git)?(/info/refs|/git-upload-pack)", rest)
        if match:
            self._archive(kind, match["repo"], match["sha"], split.query)
        elif kind == "_lfs":
            self._lfs_object(rest)
        elif batch and kind in KINDS:
            self._lfs_batch(kind, batch[1])
        elif smart and kind in KINDS:
            self._backend(kind, smart[1], smart[2], split.query)
        else:
            self._send(404, b"not found")

    def _options(self, kind: str, repo: str) -> Options | None:
        home = "gh" if kind == "codeload" else kind
        path = self.host.root / home / f"{repo}.git" / OPTIONS
        if ".." in repo or not path.is_file():
            return None
        options = Options(**json.loads(path.read_text()))
        time.sleep(options.delay)
        return options

    def _opens(self, options: Options) -> bool:
        """True when the Authorization header, in any spelling of the three hosts, is the repository's token."""
        if not options.token:
            return not (self.host.reject_tokens and "Authorization" in self.headers)
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            decoded = base64.b64decode(value).decode(errors="replace")
            return options.token in (decoded, decoded.partition(":")[2])
        return scheme == "Bearer" and value == options.token

    def _archive(self, kind: str, repo: str, sha: str, query: str) -> None:
        options = self._options(kind, repo)
        if options is None or options.archive == "none" or options.redirect:
            self._send(404, b"not found")
            return
        ticket = parse_qs(query).get("token", [""])[0]
        ticketed = kind == "codeload" and ticket and self.host.tickets.get(ticket) == repo
        if not ticketed and not self._opens(options):
            status = _PRIVATE_WEB[kind]
            self._send(
                status,
                b"sign in",
                headers={"Location": f"{self.host.url}/{kind}/users/sign_in"} if status == 302 else {},
            )
            return
        if kind == "gh":  # as github.com does: the bytes are on another host, opened by a ticket in the URL
            ticket = secrets.token_hex(8) if options.token else ""
            self.host.tickets[ticket] = repo
            target = f"{self.host.archive_url}/codeload/{repo}/tar.gz/{sha}" + (f"?token={ticket}" if ticket else "")
            self._send(302, b"", headers={"Location": target})
            return
        self._send_archive("gh" if kind == "codeload" else kind, repo, sha, options)

    def _send_archive(self, kind: str, repo: str, sha: str, options: Options) -> None:
        if options.archive == "html":
            self._send(200, b"<!doctype html><title>Sign in</title>", "text/html")
            return
        if options.archive == "error":
            self._send(503, b"busy")
            return
        bare = self.host.root / kind / f"{repo}.git"
        name = repo.rsplit("/", 1)[-1]
        top = f"{repo.replace('/', '-')}-{sha[:12]}" if kind == "bb" else f"{name}-{sha}"
        if options.archive == "other":
            sha = git(bare, "commit-tree", f"{sha}^{{tree}}", "-m", "another", env=EPOCH_ENV)
        if options.archive.startswith("/"):
            body = Path(options.archive).read_bytes()
        else:
            done = subprocess.run(
                ["git", f"--git-dir={bare}", "archive", "--format=tar.gz", f"--prefix={top}/", "--end-of-options", sha],
                env=ENV,
                capture_output=True,
                timeout=60,
            )
            if done.returncode:
                self._send(404, b"no such commit")
                return
            body = done.stdout
        if options.archive == "broken":
            body = body[: len(body) // 2]
        self._send(200, body, "application/x-gzip")

    def _backend(self, kind: str, repo: str, service: str, query: str) -> None:
        body = self._body()
        options = self._options(kind, repo)
        if options is not None and options.redirect:
            self._send(301, b"", headers={"Location": f"{self.host.url}/{options.redirect}.git{service}?{query}"})
            return
        if options is None or not self._opens(options):
            # GitHub and GitLab ask for a password for what is absent and what is private alike.
            self._send(401, b"sign in", headers={"WWW-Authenticate": 'Basic realm="git"'})
            return
        if not options.clone:
            self._send(403, b"forbidden")
            return
        if options.clone_page:
            self._send(200, b"<!doctype html><title>Welcome</title>", "text/html")
            return
        if options.broken_pack and self.command == "POST":
            self._send(200, b"000dpackfile\n0007\x01oops", "application/x-git-upload-pack-result")
            return
        env = {
            **ENV,
            "GIT_PROJECT_ROOT": str(self.host.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{kind}/{repo}.git{service}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, timeout=60)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        content_type = headers.pop("Content-Type", "text/plain")
        self._send(status, content, content_type, headers)

    def _lfs_batch(self, kind: str, repo: str) -> None:
        """Git LFS's batch API: each object's address is on the other origin and wants a header of its own."""
        asked = json.loads(self._body())
        options = self._options(kind, repo)
        if options is None or not self._opens(options):
            self._send(401, b"{}", headers={"LFS-Authenticate": 'Basic realm="git"'})
            return
        objects = []
        for item in asked["objects"]:
            ticket = secrets.token_hex(8)
            self.host.tickets[ticket] = f"{kind}/{repo}/{item['oid']}"
            entry = {"oid": item["oid"], "size": item["size"]}
            if (self.host.root / "lfs" / kind / repo / item["oid"]).exists():
                href = f"{self.host.archive_url}/_lfs/{kind}/{repo}/{item['oid']}"
                entry["actions"] = {"download": {"href": href, "header": {"X-Ticket": ticket}}}
            else:
                entry["error"] = {"code": 404, "message": "absent"}
            objects.append(entry)
        body = json.dumps({"transfer": "basic", "objects": objects}).encode()
        self._send(200, body, "application/vnd.git-lfs+json")

    def _lfs_object(self, name: str) -> None:
        if self.host.tickets.get(self.headers.get("X-Ticket", "")) == name:
            self._send(200, (self.host.root / "lfs" / name).read_bytes(), "application/octet-stream")
        else:
            self._send(403, b"no ticket")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(
        self, status: int, body: bytes, content_type: str = "text/plain", headers: Mapping[str, str] | None = None
    ) -> None:
        self.entry.status = status
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """The log is a list, not stderr."""


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; print (and write to --env-file) the variables that make the kit use this host."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.githost", description=main.__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the bare repositories; kept")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--add", action="append", default=[], metavar="SLUG[#TAG]=FOLDER", help="a repository from a folder"
    )
    parser.add_argument("--private", action="append", default=[], metavar="SLUG=TOKEN", help="needs this token")
    parser.add_argument("--clone-only", action="append", default=[], metavar="SLUG", help="has no archives")
    parser.add_argument("--env-file", type=Path, help="where to write NAME=value lines")
    options = parser.parse_args()
    with GitHost(options.root, options.port) as host:
        for item in options.add:
            name, _, folder = item.partition("=")
            slug, _, tag = name.partition("#")
            if host.bare(slug).exists():
                host.commit(slug, Path(folder))
            else:
                host.create(slug, Path(folder), tags=[tag] if tag else [])
        behaviour: dict[str, dict[str, object]] = {}
        for item in options.private:
            slug, _, token = item.partition("=")
            behaviour.setdefault(slug, {})["token"] = token
        for slug in options.clone_only:
            behaviour.setdefault(slug, {})["archive"] = "none"
        for slug, values in behaviour.items():
            host.configure(slug, **values)
        lines = "".join(f"{name}={value}\n" for name, value in host.environment().items())
        if options.env_file:
            options.env_file.write_text(lines)
        print(lines, end="", flush=True)
        done = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: done.set())
        signal.signal(signal.SIGINT, lambda *_: done.set())
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
