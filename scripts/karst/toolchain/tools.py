"""Programs that only tests and linters need: on PATH, else built from their Go modules.

Usage: scripts/toolchain/tool [--optional] NAME…: with --optional a tool that cannot be had is said, and no failure.
"""

from __future__ import annotations

import shutil
import sys

from karst.errors import Exit, KarstError, UsageError, did_you_mean
from karst.files import cache_dir
from karst.toolchain import go, record, terraform
from karst.toolchain.process import report

# Package and version, as `go install` takes them.
TOOLS = {
    "docker-compose": ("github.com/docker/compose/v2/cmd", "v2.40.3"),
    "fortio": ("fortio.org/fortio", "v1.68.2"),
    "grpcurl": ("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.4"),
    "step": ("github.com/smallstep/cli/cmd/step", "v0.30.2"),
    "step-ca": ("github.com/smallstep/certificates/cmd/step-ca", "v0.30.2"),
    "terraform-docs": ("github.com/terraform-docs/terraform-docs", "v0.20.0"),
    "tflint": ("github.com/terraform-linters/tflint", "v0.64.0"),
    "tofu": ("./cmd/tofu", terraform.TOFU_VERSION),
    "vegeta": ("github.com/tsenart/vegeta/v12", "v12.13.0"),
}
# Modules that `go install` refuses, because their go.mod excludes or replaces another; built from a copy of them.
COPIED = {
    "docker-compose": "github.com/docker/compose/v2",
    "terraform-docs": "github.com/terraform-docs/terraform-docs",
    "tofu": terraform.TOFU_MODULE,
}


def main() -> int:
    names = [name for name in sys.argv[1:] if name != "--optional"]
    unknown = next((name for name in names if name not in TOOLS), None)
    if unknown or not names:
        raise UsageError(f"no tool `{unknown}`", hint=did_you_mean(unknown, TOOLS) if unknown else "name one")
    for name in names:
        try:
            report(name, get(name))
        except KarstError as err:
            if "--optional" not in sys.argv:
                raise
            report(name, f"cannot be had: {err.message}")
    return int(Exit.OK)


def get(name: str) -> str:
    """Have ``name``, record where it is, and return how it was had."""
    package, version = TOOLS[name]
    found = shutil.which(name)
    if found:
        return f"is there: {found}"
    output = cache_dir() / "tools" / f"{name}-{version}"
    source = "is there"
    if not output.exists():
        if module := COPIED.get(name):
            go.build_module(module, version, package, output)
        else:
            go.install(package, version, output)
        source = "built from its Go module"
    if record.load().get("tools", {}).get(name) != str(output):
        record.save_tool(name, str(output))
    return f"{source}: {output}"
