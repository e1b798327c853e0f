"""What holds for all tests: whose Python the kit's programs run in, and what is left out where there is no engine."""

from __future__ import annotations

import functools
import gc
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from karst.files import cache_dir

ROOT = Path(__file__).resolve().parents[1]
# Of the caller's own settings, only those that say where tools are reach the tests.
KEPT = (
    "KARST_CACHE",
    "KARST_VENV",
    "KARST_PYTHON",
    "KARST_TERRAFORM",
    "KARST_BUILD_CA",
    "KARST_CORPUS_",
    "KARST_TEST_",
)


def pytest_configure() -> None:
    for name in list(os.environ):
        if (name.startswith("KARST_") and not name.startswith(KEPT)) or name in ("SLUGS", "STACK", "ENTRYPOINT"):
            del os.environ[name]
    # A test that has a cache of its own must not make an environment of its own as well. The kit's own is preferred to
    # this process's, so that a package that only the tests have is missed.
    if "KARST_VENV" not in os.environ:
        program = ROOT / "scripts" / "toolchain" / "environment"
        own = Path(subprocess.run([program, "--path"], capture_output=True, text=True, check=True).stdout.strip())
        os.environ["KARST_VENV"] = str(own if (own / "bin" / "python").exists() else sys.prefix)
    # What Hypothesis works out once (Unicode's tables, the constants of the code) costs each process of a fresh
    # checkout seconds: it is kept where the toolchain is.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache_dir() / "hypothesis"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that has only tests which ``-m`` leaves out is not read: that is most of what collecting takes."""
    left_out = set(re.findall(r"not (\w+)", config.getoption("markexpr")))
    if " or " in config.getoption("markexpr") or collection_path.suffix != ".py":
        return None
    of_all = re.search(r"^pytestmark = (\[[^]]*\]|.*)", collection_path.read_text(), re.M)
    return bool(of_all and left_out & set(re.findall(r"mark\.(\w+)", of_all[1]))) or None


def pytest_collection_finish() -> None:
    """Some thousand collected tests live as long as the process: no garbage collection has to look at them again."""
    gc.freeze()


@functools.cache
def _engine_answers() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and not _engine_answers():
        pytest.skip("no Docker engine answers: `make bootstrap` starts one")
