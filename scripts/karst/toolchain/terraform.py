"""Terraform, or OpenTofu: what is on PATH, else OpenTofu from its Go module (minutes: the last resort).

Usage: scripts/toolchain/terraform [--path]: --path prints where it is and makes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys

from karst.errors import Exit, KarstError
from karst.files import cache_dir
from karst.toolchain import go, record
from karst.toolchain.process import report, run

# The first version whose `terraform test` can mock providers; OpenTofu has it since 1.8.
OLDEST = (1, 7)
TOFU_MODULE, TOFU_VERSION = "github.com/opentofu/opentofu", "v1.12.6"


def main() -> int:
    if sys.argv[1:] == ["--path"]:
        print(record.terraform_command())
        return int(Exit.OK)
    command, source = find() or _build()
    record.save(terraform=command)
    report("terraform", f"{source}: {command} ({describe(command)})")
    return int(Exit.OK)


def find() -> tuple[str, str] | None:
    """Return the command and where it is from, or None; one that is too old does not count."""
    built = cache_dir() / "tools" / f"tofu-{TOFU_VERSION}"
    for name in (os.environ.get("KARST_TERRAFORM", ""), "terraform", "tofu", str(built)):
        found = shutil.which(name) if name else None
        if found and version(found) >= OLDEST:
            return found, "is there"
    return None


def version(command: str) -> tuple[int, ...]:
    """Return (major, minor) of a terraform or tofu; (0,) when it does not say."""
    try:
        text = _ask(command)
    except KarstError:
        return (0,)
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def describe(command: str) -> str:
    """Return for example "Terraform 1.11.4"."""
    return f"{'OpenTofu' if is_tofu(command) else 'Terraform'} {_ask(command)}"


def is_tofu(command: str) -> bool:
    """Whether ``command`` is OpenTofu, which has another default registry."""
    return "OpenTofu" in run([command, "version"], what=f"ask {command} for its version", timeout=30, env=_quiet())


def _ask(command: str) -> str:
    text = run([command, "version", "-json"], what=f"ask {command} for its version", timeout=30, env=_quiet())
    return str(json.loads(text).get("terraform_version", ""))


def _quiet() -> dict[str, str]:
    # No question to the vendor's update service, and no warning about a configuration file that is not there.
    return {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}


def _build() -> tuple[str, str]:
    if not go.usable():
        raise KarstError(
            f"no terraform or tofu {OLDEST[0]}.{OLDEST[1]} or newer was found",
            hint="install one: https://developer.hashicorp.com/terraform/install or https://opentofu.org/docs/intro/install",
            code="no_terraform",
        )
    output = cache_dir() / "tools" / f"tofu-{TOFU_VERSION}"
    report("terraform", "none on PATH: building OpenTofu from its Go module, which takes some minutes")
    go.build_module(TOFU_MODULE, TOFU_VERSION, "./cmd/tofu", output)
    return str(output), "built from the Go module"
