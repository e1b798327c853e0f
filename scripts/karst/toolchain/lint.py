"""Every linter over everything it is for; each is run, and the exit code is 1 when any of them found something.

Usage: scripts/toolchain/lint [--fix]: with --fix only the formatters run, and they write.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from karst.errors import Exit, KarstError, UsageError
from karst.files import cache_dir
from karst.toolchain import record, tools
from karst.toolchain.process import ROOT

SKIP = {".git", ".terraform", "terraform.d", ".karst", "secrets", "__pycache__", "node_modules", ".venv"}
RUNNER = (
    ROOT / "modules" / "karst_service" / "image" / "runner"
)  # a package of its own: it runs in the apps' containers
GENERATED = "pb"  # protoc's own style
CHECK_SECONDS = 600

Check = Callable[[], str]


def main() -> int:
    if sys.argv[1:] not in ([], ["--fix"]):
        raise UsageError("usage: scripts/toolchain/lint [--fix]", code="usage")
    if sys.argv[1:]:
        return fix()
    failed = 0
    # Two at a time: most of them use one core.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, found, seconds in pool.map(_timed, checks().items()):
            print(f"  {'FAILED' if found else 'ok':<7} {name:<20} {seconds:5.1f} s", flush=True)
            if found:
                failed += 1
                print(found.rstrip() + "\n", flush=True)
    return int(Exit.FAILED if failed else Exit.OK)


def fix() -> int:
    """Let the formatters write, and terraform-docs the modules' tables."""
    python = python_files()
    for command in (["ruff", "check", "--fix", "--quiet"], ["black", "--quiet"]):
        print(_output([*command, *python]), end="")
    print(_output([record.terraform_command(), "fmt", "-recursive", "."]), end="")
    print(module_docs(), end="")
    return int(Exit.OK)


def checks() -> dict[str, Check]:
    """Return the checks by name; each returns what it found, "" for nothing."""
    python = python_files()
    return {
        "mypy": lambda: _output(["mypy"]),
        # A cache of its own: two at once on one made an empty cache fail with an internal error.
        "mypy, runner": lambda: _output(
            ["mypy", "--cache-dir", ".mypy_cache/runner", "-p", "karst_runner"],
            env={**os.environ, "MYPYPATH": str(RUNNER)},
        ),
        "black": lambda: _output(["black", "--check", "--quiet", "--diff", *python]),
        "ruff": lambda: _output(["ruff", "check", "--quiet", *python]),
        "protobuf code": lambda: _output([sys.executable, "scripts/toolchain/proto", "--check"]),
        "shellcheck": lambda: _output(["shellcheck", *shell_files()]),
        "hadolint": lambda: _output(["hadolint", *dockerfiles()]) if dockerfiles() else "",
        "terraform fmt": lambda: _output([record.terraform_command(), "fmt", "-check", "-diff", "-recursive", "."]),
        "terraform validate": validate,
        "tflint": tflint,
        "terraform-docs": lambda: module_docs("--output-check"),
    }


#: Where the examples say that the kit is published; validated against the modules beside them.
PUBLISHED = re.compile(r"git::https://example\.org/karstkit\.git//(modules/\w+)\?ref=v[0-9.]+")


def validate() -> str:
    """Validate every folder of Terraform files in a copy: init writes beside them, and the checkout stays as it is."""
    parent = cache_dir() / "lint"
    parent.mkdir(parents=True, exist_ok=True)
    found = []
    with tempfile.TemporaryDirectory(dir=parent) as copy:
        for name in ("modules", "envs", "examples"):
            if (ROOT / name).is_dir():
                leave_out = shutil.ignore_patterns(*SKIP, "*.tfstate*", "*.tfplan", ".terraform.lock.hcl")
                shutil.copytree(ROOT / name, Path(copy) / name, ignore=leave_out, symlinks=True)
        for path in Path(copy, "examples").rglob("*.tf"):
            path.write_text(PUBLISHED.sub(r"../../\1", path.read_text()))
        env = {**record.terraform_environment(), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        for folder in sorted({path.parent for path in Path(copy).rglob("*.tf")}):
            terraform = [record.terraform_command(), f"-chdir={folder}"]
            failure = _output([*terraform, "init", "-backend=false", "-input=false", "-no-color"], env=env)
            failure = failure or _output([*terraform, "validate", "-no-color"], env=env)
            if failure:
                found.append(f"{folder.relative_to(copy)}:\n{failure}")
    return "\n".join(found)


def tflint() -> str:
    """Run tflint with the named rules over all folders; what others look into has the files that they look for."""
    command = [_tool("tflint"), f"--config={ROOT / '.tflint.hcl'}", "--format=compact"]
    found = [_output([*command, "--recursive"])]
    for folder in sorted(path.parent for kind in ("modules", "envs") for path in ROOT.glob(f"{kind}/*/main.tf")):
        said = _output([*command, f"--chdir={folder}", "--only=terraform_standard_module_structure"])
        found.append(said and f"{folder.relative_to(ROOT)}:\n{said}")
    return "\n".join(text for text in found if text)


def module_docs(*options: str) -> str:
    """Write what the modules take and give into their READMEs; with ``--output-check`` only say where it is not so."""
    command = _tool("terraform-docs")
    said = {
        path.parent: _output([command, *options, str(path.parent)]) for path in sorted(ROOT.glob("modules/*/README.md"))
    }
    return "".join(f"{folder.name}: {text.rstrip()} (`make fmt` writes it)\n" for folder, text in said.items() if text)


def python_files() -> list[str]:
    """Every Python file, those without an extension too (they start with a shell line and a docstring)."""
    return [str(path) for path in _files() if path.suffix == ".py" or (not path.suffix and _is_python(path))]


def shell_files() -> list[str]:
    """Every shell script, known by its name or its first line."""
    return [str(path) for path in _files() if path.suffix == ".sh" or (not path.suffix and _is_shell(path))]


def dockerfiles() -> list[str]:
    """Every Dockerfile but the templates and the deliberately plain ones of the examples."""
    return [str(path) for path in _files() if path.name == "Dockerfile" and "examples" not in path.parts]


def _tool(name: str) -> str:
    """Return the path of a tool, which is made when it is not there."""
    tools.get(name)
    command = record.tool(name)
    if command is None:
        raise KarstError(f"{name} was made and is not there", code="no_tool")
    return command


def _files() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        inside = Path(folder).relative_to(ROOT)
        folders[:] = sorted(name for name in folders if name not in SKIP and not name.endswith("_cache"))
        if inside.name != GENERATED:
            found += [inside / name for name in sorted(names)]
    return found


def _head(path: Path) -> list[str]:
    try:
        with (ROOT / path).open(encoding="utf-8") as handle:
            return [handle.readline(200), handle.readline(200)]
    except (OSError, UnicodeDecodeError):
        return ["", ""]


def _is_python(path: Path) -> bool:
    first, second = _head(path)
    return first.startswith("#!") and ("python" in first.split("exec")[0] or second.startswith('"""'))


def _is_shell(path: Path) -> bool:
    first, second = _head(path)
    return first.startswith(("#!/bin/sh", "#!/usr/bin/env sh", "#!/bin/bash")) and not second.startswith('"""')


def _timed(item: tuple[str, Check]) -> tuple[str, str, float]:
    name, check = item
    started = time.monotonic()
    try:
        found = check()
    except KarstError as err:
        found = str(err)
    return name, found, time.monotonic() - started


def _output(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    """Run a check in the checkout; return what it said when it failed, "" when it did not."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed: run `make lint`, which sees to it"
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=CHECK_SECONDS,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout or f"{command[0]} failed with {done.returncode}"
