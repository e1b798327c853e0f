"""What the runner is told by its environment, and the numbers it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """One container's settings.

    The first block comes from the environment (set by modules/karst_service/pods.tf); the rest are constants that
    only tests change.
    """

    argv: tuple[str, ...]
    service: str = ""
    stack: str = ""
    revision: str = ""
    #: `port:` of the list; None when the runner is to find out by itself.
    port: int | None = None
    #: `health:` of the list, an HTTP path, or "".
    health: str = ""
    #: Static guess of the detector, or "". A "server" that is quiet is still starting (it may wait for a database).
    kind: str = ""
    #: File that is there when the app's secrets have been delivered, or "": the app is not started before.
    wait_for: str = ""

    #: The runner's own port; 15000, 15001 and 9901 belong to the sidecar in the same network namespace.
    listen_port: int = 50051
    sidecar_ports: frozenset[int] = frozenset({15000, 15001, 9901})
    #: An app that ends within this time of its start was never up.
    stable_after: float = 1.0
    #: Seconds between two tries double from the first to the second number; so many tries, then FAILED.
    backoff: float = 1.0
    backoff_max: float = 30.0
    tries: int = 5
    #: An app that ran this long gets all its tries back.
    forgive_after: float = 60.0
    #: How long the runner still answers after giving up, before it exits and Docker's restart policy takes over.
    linger: float = 60.0
    #: From SIGTERM to SIGKILL; less than pods.tf's destroy_grace_seconds.
    stop_grace: float = 10.0
    #: Without a port: quiet for `quiet_for` and older than `worker_after`, or alive after `worker_limit`, is a worker.
    quiet_for: float = 3.0
    worker_after: float = 5.0
    worker_limit: float = 45.0
    #: Bytes of log kept for StreamLogs, and bytes that may wait for a reader of stdout.
    ring_bytes: int = 4 << 20
    mirror_bytes: int = 1 << 20

    @property
    def kit_ports(self) -> frozenset[int]:
        """Ports that the app cannot have."""
        return self.sidecar_ports | {self.listen_port}

    @classmethod
    def from_environment(cls, argv: list[str], env: Mapping[str, str]) -> Settings:
        """Read the KARST_* variables; raises ValueError with one sentence for a port that is none."""
        text = env.get("KARST_PORT", "")
        if text and not (text.isdecimal() and 0 < int(text) < 65536):
            raise ValueError(f"KARST_PORT must be a port number, not {text!r}")
        return cls(
            argv=tuple(substitute(word, env) for word in argv),
            service=env.get("KARST_SERVICE", ""),
            stack=env.get("KARST_STACK", ""),
            revision=env.get("KARST_REVISION", ""),
            port=int(text) if text else None,
            health=env.get("KARST_HEALTH", ""),
            kind=env.get("KARST_KIND", ""),
            wait_for=env.get("KARST_AWAIT", ""),
        )


def substitute(word: str, env: Mapping[str, str]) -> str:
    """Fill in ``${PORT}`` and ``${HOST}``, and nothing else: there is no shell between the detector and the app."""
    return word.replace("${PORT}", env.get("PORT", "8000")).replace("${HOST}", env.get("HOST", "127.0.0.1"))


def wants_traces(env: Mapping[str, str]) -> bool:
    """Whether the app is to be traced: unless `otel: false`, or the standard variables say no."""
    return (
        env.get("KARST_OTEL", "").lower() not in {"off", "false", "0"}
        and env.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and env.get("OTEL_TRACES_EXPORTER") != "none"
    )


def app_environment(env: Mapping[str, str], otel_dir: str = "", otel_socket: str = "") -> dict[str, str]:
    """The app's environment: the container's, log lines unbuffered, and tracing where there is a socket for it.

    Python imports ``sitecustomize`` from PYTHONPATH at every start; ``otel_dir`` holds that one file.
    """
    result = {"PORT": "8000", "HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1", **env}
    if otel_socket:
        rest = env.get("PYTHONPATH", "")
        result["PYTHONPATH"] = f"{otel_dir}:{rest}" if rest else otel_dir
        result["KARST_OTEL_SOCKET"] = otel_socket
    return result
