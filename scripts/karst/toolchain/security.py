"""`make security`: attacks with real clients, property tests of parsers, scanners; then the table of what was seen.

Usage: scripts/toolchain/security
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from karst.errors import Exit, KarstError
from karst.files import write_atomic
from karst.toolchain import lint
from karst.toolchain.process import ROOT

DOCUMENT = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- security: begin -->", "<!-- security: end -->"
ATTACKS = ("tests/security",)
# Slugs, refs, lists, archives, lock files, names, Dockerfiles: for each property tests, or attacks written by hand.
PARSERS = (
    "tests/unit/test_slug.py",
    "tests/unit/test_listfile.py",
    "tests/unit/test_lockfile.py",
    "tests/unit/test_manifest.py",
    "tests/unit/fetch/test_fetch_refs.py",
    "tests/unit/fetch/test_fetch_archive.py",
    "tests/unit/detect/test_safety.py",
    "tests/unit/render/test_dockerfile.py",
    "tests/unit/test_any_input.py",
    "tests/unit/toolchain/test_makefile.py",
)
CANARIES = ("tests/unit/fetch/test_fetch_secrets.py", "tests/integration/test_deploy.py")


def main() -> int:
    scanners = _scanners()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "seen.json"
        env = {**os.environ, "KARST_TEST_REPORT": str(report), "KARST_TEST_SSLYZE": str(scanners / "sslyze")}
        results = {
            "attacks": _pytest(ATTACKS, env),
            "parsers": _pytest(PARSERS, env),
            "secrets": _pytest(CANARIES, env),
            "bandit": _run(
                [str(scanners / "bandit"), "-q", "-ll", "-r", "scripts/karst", "admin", lint.RUNNER, "-x", "*/pb/*"]
            ),
            "checkov": _run(
                [str(scanners / "checkov"), "--skip-download", "--config-file", ".checkov.yaml", "-d", "."]
            ),
            "hadolint": not lint.checks()["hadolint"](),
            "tflint": not lint.tflint(),
        }
        rows = json.loads(report.read_text()) if report.exists() else []
    for name, ok in results.items():
        print(f"  {'ok' if ok else 'FAILED':<7} {name}", flush=True)
    if not all(results.values()):
        return int(Exit.FAILED)
    write_table(rows, DOCUMENT)
    return int(Exit.OK)


def write_table(rows: Sequence[Sequence[str]], document: Path) -> None:
    """Put what was seen between the document's two markers."""
    text = document.read_text()
    if BEGIN not in text or END not in text:
        raise KarstError(f"{document} has no place for the table: {BEGIN} and {END}", code="no_markers")
    lines = ["| tried | from | client | seen |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    write_atomic(document, f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}")


def _scanners() -> Path:
    program = str(ROOT / "scripts" / "toolchain" / "environment")
    done = subprocess.run([program, "--security", "--path"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()) / "bin"


def _pytest(paths: Sequence[str], env: dict[str, str]) -> bool:
    return _run([sys.executable, "-m", "pytest", "-q", "-m", "not real", *paths], env)


def _run(command: Sequence[str | Path], env: dict[str, str] | None = None) -> bool:
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0
