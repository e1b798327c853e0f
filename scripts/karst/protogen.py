"""Turn proto/controlplane.proto into the Python packages that speak it.

The generated files are committed: a freshly cloned module must work before anybody has run make. They exist twice,
because Terraform builds the runner image from a context of its own; both come from one run of this generator, and
``scripts/toolchain/proto --check`` (a test) fails when either differs.
"""

from __future__ import annotations

import re
import tempfile
from importlib import resources
from pathlib import Path

from karst.errors import KarstError, UsageError
from karst.files import write_atomic

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto" / "controlplane.proto"
PACKAGES = (
    ROOT / "scripts" / "karst" / "pb",
    ROOT / "modules" / "karst_service" / "image" / "runner" / "karst_runner" / "pb",
)
INIT = '"""The messages and services of proto/controlplane.proto (generated: scripts/toolchain/proto)."""\n'
# Formatters and type checkers leave generated code alone; the messages' types are in the .pyi beside it.
MARK = "# ruff: noqa\n# fmt: off\n# mypy: ignore-errors\n"


def generate() -> dict[str, str]:
    """Return the package's files by name.

    Raises KarstError when the generator is not installed or the proto file does not compile.
    """
    try:
        from grpc_tools import protoc  # type: ignore[import-untyped]
    except ImportError as err:
        raise KarstError("grpcio-tools is not installed", hint="run `make bootstrap`", code="no_protoc") from err
    well_known = str(resources.files("grpc_tools") / "_proto")
    with tempfile.TemporaryDirectory() as out:
        outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{PROTO.parent}", f"-I{well_known}", *outputs, PROTO.name]) != 0:
            raise KarstError(f"{PROTO} does not compile", hint="protoc's message is above", code="bad_proto")
        files = {path.name: path.read_text() for path in sorted(Path(out).iterdir())}
    return {"__init__.py": INIT} | {name: MARK + _relative(text) for name, text in files.items()}


def _relative(text: str) -> str:
    """protoc writes `import x_pb2`, which works for top-level modules only; inside a package it is `from . import`."""
    return re.sub(r"^import (\w+_pb2)\b", r"from . import \1", text, flags=re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Write the packages, or with --check compare them; returns the exit code."""
    if arguments not in ([], ["--check"]):
        raise UsageError("usage: scripts/toolchain/proto [--check]", code="usage")
    files = generate()
    stale = [path for path, text in _targets(files) if not path.is_file() or path.read_text() != text]
    if arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what {PROTO.relative_to(ROOT)} says: run `make proto`")
        return 1 if stale else 0
    for path, text in _targets(files):
        if path in stale:
            write_atomic(path, text)
    return 0


def _targets(files: dict[str, str]) -> list[tuple[Path, str]]:
    return [(package / name, text) for package in PACKAGES for name, text in files.items()]
