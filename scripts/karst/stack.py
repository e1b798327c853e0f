"""A stack's name, folders and ports, and where each setting came from: option, environment, last deploy, default."""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karst.dial import is_elsewhere
from karst.doors import Door
from karst.errors import UsageError, did_you_mean

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_STACK = "karst"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
_FROM_ENVIRONMENT = {
    "gate_timeout": "KARST_GATE_TIMEOUT",
    "drain_seconds": "KARST_DRAIN_SECONDS",
    "cert_lifetime": "KARST_CERT_LIFETIME",
    "identity_delivery": "KARST_IDENTITY_DELIVERY",
    "envoy_spans": "KARST_ENVOY_SPANS",
    "log_megabytes": "KARST_LOG_MEGABYTES",
}
_BACKEND = re.compile(r'^\s*backend\s+"(\w+)"', re.MULTILINE)
_PORTS = {"edge": 15000, "metrics": 9901, "front_door": 8088}


@dataclass(frozen=True)
class Stack:
    """Where one stack lives.

    Attributes:
        name: value of the label ``karst.stack``.
        list_file: the YAML or JSON list to deploy.
        network: name of the Docker network.
        ports: ``edge``, ``metrics`` and ``front_door`` on 127.0.0.1.
        secrets_dir: folder of the CA and the identities.
        home: folder of the run's own files: variables, plan, lock, log.
        data_dir, state_file: Terraform's; the default stack shares them with a plain `terraform apply` in its root.
        env: name of the root module, a folder of envs/.
    """

    name: str
    list_file: Path
    network: str
    ports: dict[str, int]
    secrets_dir: Path
    home: Path
    data_dir: Path
    state_file: Path
    env: str = "local"

    @property
    def last_list(self) -> Path | None:
        """The list that the stack was last planned with; None before the first time."""
        last = _last_variables(self.variables_file).get("slugs_file")
        return Path(last) if isinstance(last, str) and last else None

    @property
    def root_module(self) -> Path:
        return ROOT / "envs" / self.env

    @property
    def backend(self) -> str:
        """Kind of the backend that the root names; with any but ``local`` there is no state file here."""
        return _backend(self.root_module)

    @property
    def remote_state(self) -> bool:
        """Whether others can work on the stack from other machines."""
        return self.backend != "local"

    @property
    def env_file(self) -> Path:
        """Names the root that the stack was last worked on with."""
        return self.home / "env"

    @property
    def variables_file(self) -> Path:
        return self.home / "karst.tfvars.json"

    @property
    def plan_file(self) -> Path:
        return self.home / "karst.tfplan"

    @property
    def held_file(self) -> Path:
        """The services that the run holds at a recorded generation (see karst.generations)."""
        return self.home / "held.json"

    @property
    def failures_file(self) -> Path:
        """Where a helper script of this run leaves word of the services that failed."""
        return self.home / "failures.json"

    @property
    def history_dir(self) -> Path:
        """One file a service: every generation that was tried, oldest first."""
        return self.home / "history"

    @property
    def lock_path(self) -> Path:
        return self.home / "lock"

    @property
    def terraform_pid_file(self) -> Path:
        """There while Terraform runs, and after it was killed: the id of its process group."""
        return self.home / "terraform.pid"

    @property
    def log_dir(self) -> Path:
        """Logs of generations that are gone."""
        return self.home / "logs"

    @property
    def unfinished_file(self) -> Path:
        """There from the start of an apply until one succeeds; it says when the first that did not began."""
        return self.home / "unfinished"

    @property
    def uploads(self) -> bool:
        """Whether keys are sent to the containers (karst.deliver), because their host is not this machine."""
        default = "bind" if self.env == "local" else "memory"  # as each root has it
        return str(self.variables().get("identity_delivery") or default) != "bind"

    @property
    def edge(self) -> Door:
        return Door("127.0.0.1", self.ports["edge"], self.name)

    @property
    def metrics(self) -> Door:
        return Door("127.0.0.1", self.ports["metrics"], self.name, "metrics")

    def variables(self) -> dict[str, Any]:
        """What envs/local is given as a variables file."""
        extra = {"otlp_endpoint": os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")}
        for name, variable in _FROM_ENVIRONMENT.items():
            if value := os.environ.get(variable):
                extra[name] = value
        if is_elsewhere() and self.env == "local":
            extra.setdefault("identity_delivery", "memory")
        return {
            "stack": self.name,
            "slugs_file": str(self.list_file),
            "network_name": self.network,
            "ports": self.ports,
            "secrets_dir": str(self.secrets_dir),
            "log_dir": str(self.log_dir),
            **extra,
        }


def is_name(text: str) -> bool:
    """Whether a stack can be called this."""
    return _NAME.fullmatch(text) is not None


def resolve(
    *,
    name: str | None = None,
    list_file: str | None = None,
    network: str | None = None,
    edge_port: int | None = None,
    metrics_port: int | None = None,
    front_door_port: int | None = None,
    secrets_dir: str | None = None,
) -> Stack:
    """Settle every setting; an argument of None means the caller has no wish.

    Raises UsageError for a stack name that is not 2 to 20 of ``a-z0-9-``, a port that is not a number, or a root
    (KARST_ENV) that there is not.
    """
    chosen = name or os.environ.get("KARST_STACK") or DEFAULT_STACK
    if not is_name(chosen):
        raise UsageError(
            f"`{chosen[:40]}` is not a stack name",
            hint="use 2 to 20 of a-z, 0-9 and -, beginning with a letter, for example `team-a`",
            code="bad_stack",
        )
    default = chosen == DEFAULT_STACK
    home = Path(os.environ.get("KARST_STATE_DIR") or ROOT / ".karst" / "stacks").absolute() / chosen
    last = _last_variables(home / "karst.tfvars.json")
    env = _env(home / "env")
    shared = default and "KARST_STATE_DIR" not in os.environ
    last_ports = last.get("ports") or {}
    given = {"edge": edge_port, "metrics": metrics_port, "front_door": front_door_port}
    return Stack(
        name=chosen,
        list_file=Path(list_file or last.get("slugs_file") or "repos.yaml").absolute(),
        network=network
        or os.environ.get("KARST_NETWORK")
        or last.get("network_name")
        or ("iacnet" if default else f"iacnet-{chosen}"),
        ports={key: _port(key, given[key], last_ports.get(key), fallback) for key, fallback in _PORTS.items()},
        secrets_dir=Path(
            secrets_dir
            or os.environ.get("KARST_SECRETS_DIR")
            or last.get("secrets_dir")
            or (ROOT / "secrets" if default else home / "secrets")
        ).absolute(),
        home=home,
        data_dir=ROOT / "envs" / env / ".terraform" if shared else home / "terraform",
        state_file=ROOT / "envs" / env / "karst.tfstate" if shared else home / "terraform.tfstate",
        env=env,
    )


def _env(last: Path) -> str:
    try:
        name = os.environ.get("KARST_ENV") or last.read_text().strip()
    except OSError:
        name = "local"
    known = sorted(path.parent.name for path in (ROOT / "envs").glob("*/main.tf"))
    if name not in known:
        raise UsageError(
            f"there is no root `{name[:40]}` in {ROOT / 'envs'}",
            hint=did_you_mean(name, known) or f"there are: {', '.join(known)}",
            code="unknown_env",
        )
    return name


@functools.cache
def _backend(root: Path) -> str:
    found = [match[1] for path in sorted(root.glob("*.tf")) if (match := _BACKEND.search(path.read_text()))]
    return found[0] if found else "local"


def _port(key: str, given: int | None, last: int | None, fallback: int) -> int:
    variable = f"KARST_{key.upper()}_PORT"
    raw = given or os.environ.get(variable) or last or fallback
    try:
        port = int(raw)
    except ValueError:
        port = 0
    if not 1 <= port <= 65535:
        raise UsageError(f"{variable} is `{raw}`, and a port is a number from 1 to 65535", code="bad_port")
    return port


def _last_variables(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
