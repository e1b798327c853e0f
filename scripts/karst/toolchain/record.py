"""What the toolchain found or made, for the programs that use it: ``<cache>/toolchain.json``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from karst.errors import KarstError
from karst.files import cache_dir, locked, write_atomic

CONFIG_VARIABLE = "TF_CLI_CONFIG_FILE"


def path() -> Path:
    return cache_dir() / "toolchain.json"


def load() -> dict[str, Any]:
    """Return the record; empty when there was no bootstrap yet, or the file is damaged (then bootstrap rewrites it)."""
    try:
        record = json.loads(path().read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def save(**entries: Any) -> None:
    """Add ``entries`` to the record."""
    _update(lambda record: {**record, **entries})


def save_tool(name: str, where: str) -> None:
    """Record where a tool is, beside others that may be recorded at the same time."""
    _update(lambda record: {**record, "tools": {**record.get("tools", {}), name: where}})


def _update(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with locked(path().with_suffix(".lock")):
        write_atomic(path(), json.dumps(change(load()), indent=2, sort_keys=True) + "\n")


def terraform_command() -> str:
    """Return the Terraform (or OpenTofu) to call: KARST_TERRAFORM, what bootstrap recorded, or what is on PATH.

    Raises KarstError when there is none.
    """
    candidates = (os.environ.get("KARST_TERRAFORM", ""), str(load().get("terraform", "")), "terraform", "tofu")
    for candidate in candidates:
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
    raise KarstError("no terraform and no tofu was found", hint="run `make bootstrap`", code="no_terraform")


def terraform_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return ``base`` (the process's environment) with what makes Terraform find its providers.

    Where bootstrap had to build the providers, TF_CLI_CONFIG_FILE points to a configuration that knows where they are.
    Otherwise the caller's own setting stays, unless it names a file that does not exist: Terraform would warn in every
    call.
    """
    env = dict(os.environ if base is None else base)
    config = str(load().get("provider_config", ""))
    if config and Path(config).is_file():
        env[CONFIG_VARIABLE] = config
    elif env.get(CONFIG_VARIABLE) and not Path(env[CONFIG_VARIABLE]).is_file():
        del env[CONFIG_VARIABLE]
    return env


def tool(name: str) -> str | None:
    """Return the path of a test tool (grpcurl, tflint): on PATH, else in the cache; None when neither."""
    recorded = load().get("tools", {})
    return shutil.which(name) or (shutil.which(str(recorded.get(name, ""))) if isinstance(recorded, dict) else None)
