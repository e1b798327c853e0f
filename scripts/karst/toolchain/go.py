"""Programs that are had as Go modules: built in the cache, one by one, checked against go.sum or the sum database."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from karst.errors import KarstError
from karst.files import cache_dir, disk_errors, locked
from karst.toolchain.process import run

BUILD_SECONDS = 3600
BUILD_FLAGS = ("-trimpath", "-ldflags=-s -w")
# `auto` lets an older Go fetch, by the same proxy, the newer toolchain that a module asks for.
ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


def usable() -> bool:
    """Whether there is a Go compiler."""
    return shutil.which("go") is not None


def platform() -> str:
    """Return what Terraform calls the platform, for example ``linux_amd64``."""
    return run(["go", "env", "GOOS", "GOARCH"], what="ask Go for the platform", timeout=30).strip().replace("\n", "_")


def build_tool(module_folder: Path, package: str, output: Path, *flags: str) -> None:
    """Build ``package``, a requirement of the go.mod in ``module_folder``, into ``output``.

    go.mod and go.sum there are complete, so that what is built is exactly what was once seen to work.
    """
    with _to(output) as target:
        run(
            ["go", "build", "-mod=readonly", *flags, *BUILD_FLAGS, "-o", target, package],
            what=f"build {package}",
            hint="is the Go module proxy reachable (GOPROXY)?",
            timeout=BUILD_SECONDS,
            cwd=module_folder,
            env=ENVIRONMENT,
        )


def install(package: str, version: str, output: Path) -> None:
    """Build ``package@version`` into ``output``, as `go install` does."""
    with _to(output) as target:
        run(
            ["go", "install", *BUILD_FLAGS, f"{package}@{version}"],
            what=f"build {package}@{version}",
            hint="is the Go module proxy reachable (GOPROXY)?",
            timeout=BUILD_SECONDS,
            env={**ENVIRONMENT, "GOBIN": str(target.parent)},
        )
        built = target.parent / Path(package).name
        if built != target:
            os.replace(built, target)


def build_module(module: str, version: str, package: str, output: Path) -> None:
    """Build ``package`` of ``module`` from a copy of the module's folder: for modules that `go install` refuses."""
    with _to(output) as target:
        text = run(
            ["go", "mod", "download", "-json", f"{module}@{version}"],
            what=f"download {module}@{version}",
            hint="is the Go module proxy reachable (GOPROXY)?",
            timeout=900,
            env=ENVIRONMENT,
        )
        copy = target.parent / "module"
        shutil.copytree(json.loads(text)["Dir"], copy)
        for path in [copy, *copy.rglob("*")]:  # the module cache is read-only, and so would the copy be
            path.chmod(path.stat().st_mode | 0o200)
        run(
            ["go", "build", "-mod=mod", *BUILD_FLAGS, "-o", target, package],
            what=f"build {module}",
            timeout=BUILD_SECONDS,
            cwd=copy,
            env=ENVIRONMENT,
        )


@contextlib.contextmanager
def _to(output: Path) -> Iterator[Path]:
    """Yield a temporary name that becomes ``output`` when the block succeeds; builds wait for one another.

    Five Go builds at once make every one of them ten times slower.
    """
    if not usable():
        raise KarstError(
            f"{output.name} has to be built, and there is no Go compiler",
            hint="install Go (https://go.dev/dl), or give the machine access to the normal source",
            code="no_go",
        )
    with locked(cache_dir() / "go-build.lock"), disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=".build-"))
        try:
            yield folder / output.name
            os.replace(folder / output.name, output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
