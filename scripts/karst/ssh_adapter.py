"""Docker's client library over `dial.Ssh`: its adapter for a Unix socket, given other sockets."""

from __future__ import annotations

from typing import Any

import docker
from docker.transport import unixconn

from karst.dial import Ssh


class _Connection(unixconn.UnixHTTPConnection):
    def __init__(self, way: Ssh, timeout: Any) -> None:
        super().__init__("http+docker://localhost", "", timeout)
        self._way = way

    def connect(self) -> None:
        self.sock = self._way.dial()
        self.sock.settimeout(self.timeout)


class _Pool(unixconn.UnixHTTPConnectionPool):
    def __init__(self, way: Ssh, timeout: int, maxsize: int) -> None:
        super().__init__("http+docker://localhost", "", timeout, maxsize)
        self._way = way

    def _new_conn(self) -> Any:
        return _Connection(self._way, self.timeout)


class _Adapter(unixconn.UnixHTTPAdapter):
    def __init__(self, way: Ssh, timeout: int) -> None:
        super().__init__("http+unix:///ssh", timeout)
        self._way = way

    def get_connection(self, url: str | bytes, proxies: Any = None) -> _Pool:
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _Pool(self._way, self.timeout, self.max_pool_size)
            return pool

    def close(self) -> None:
        super().close()
        self._way.close()


def client(way: Ssh, timeout: int) -> Any:
    """A Docker client for the engine at the other end of ``way``; raises what requests raises when there is none."""
    # A client that is told no version asks the engine for its own while it is made, when it has no adapter of ours yet.
    first = docker.APIClient("unix:///ssh", version="1.44", timeout=timeout)
    first.mount("http+docker://", _Adapter(way, timeout))
    version = first.version(api_version=False)["ApiVersion"]
    connection = docker.DockerClient("unix:///ssh", version=version, timeout=timeout)
    connection.api.mount("http+docker://", first.get_adapter("http+docker://"))
    return connection
