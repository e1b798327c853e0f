"""Byte code of the app's own modules, made while the context is written and kept by content.

The container's root is read-only: without it every start would compile every module anew. Made here rather than in the
build, a changed file costs one compilation instead of a RUN over the whole source. Compiling does not run code; it
happens in a process of its own, so that a source made to crash the compiler costs its byte code and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from karst.files import cache_dir

# Not imported by a running app, and often the larger half of a repository.
SKIPPED = frozenset({"tests", "test", "docs", "doc", "examples", "benchmarks", "node_modules"})
# Beyond this the build stage does it: a plan should not be silent for many seconds.
MAX_TOTAL = 6 * 1024 * 1024

PROGRAM = """
import os, py_compile, sys
for line in sys.stdin:
    source, name, target = line.rstrip("\\n").split("\\0")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        py_compile.compile(
            source, target, name, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    except Exception:
        open(target, "wb").close()
"""


def tag(python: str) -> str:
    """The tag of byte code that this Python makes for the image's ("cpython-311"), "" when it makes another kind."""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(sys.implementation.cache_tag) if python == mine and sys.implementation.name == "cpython" else ""


def modules(files: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """The modules worth compiling."""
    return [
        (name, path)
        for name, path in files
        if name.endswith(".py") and not SKIPPED.intersection(name.split("/")[:-1]) and not path.is_symlink()
    ]


def small_enough(files: list[tuple[str, Path]]) -> bool:
    """Whether compiling here is quick."""
    return sum(path.stat().st_size for _, path in modules(files)) <= MAX_TOTAL


def compile_into(folder: Path, files: list[tuple[str, Path]], cache_tag: str) -> None:
    """Place ``__pycache__/<module>.<tag>.pyc`` beside each module in ``folder``; one that does not compile has none."""
    magic = importlib.util.MAGIC_NUMBER.hex()
    wanted: list[tuple[Path, str, Path]] = []
    for name, path in modules(files):
        digest = hashlib.sha256(f"{magic}\0{name}\0".encode("utf-8", "surrogateescape") + path.read_bytes()).hexdigest()
        wanted.append((path, name, cache_dir() / "pyc" / digest[:2] / f"{digest}.pyc"))
    missing = [item for item in wanted if not item[2].is_file() and not set("\0\n") & set(str(item[0]))]
    if missing:
        lines = "".join(f"{path}\0/app/{name}\0{target}\n" for path, name, target in missing)
        with contextlib.suppress(subprocess.SubprocessError, UnicodeEncodeError):
            subprocess.run(
                [sys.executable, "-I", "-S", "-W", "ignore", "-c", PROGRAM],
                input=lines,
                text=True,
                check=False,
                timeout=120,
                stderr=subprocess.DEVNULL,
            )
    for _, name, made in wanted:
        if not made.is_file() or not made.stat().st_size:
            continue
        module = Path(name)
        target = folder / module.parent / "__pycache__" / f"{module.stem}.{cache_tag}.pyc"
        target.parent.mkdir(exist_ok=True)
        try:
            os.link(made, target)
        except OSError:
            target.write_bytes(made.read_bytes())
