"""A build that fails: the sentence has the step's own last lines and what to try; nothing is running after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import JOB
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("stack")]


def test_a_failing_build_is_told_by_the_steps_own_words(tmp_path: Path) -> None:
    """A requirement that no index has; the provider alone would say `exit code: 1`."""
    kit = Kit(tmp_path / "kit")
    (kit.home / "odd").mkdir()
    (kit.home / "odd" / "main.py").write_text(JOB)
    (kit.home / "odd" / "requirements.txt").write_text("karst-no-such-package-5f2c==1.0\n")
    kit.write_list(["dir:odd"])
    try:
        done = kit.iac("deploy", "--file", str(kit.list_file), check=1)
        assert "odd: " in done.stderr
        assert "karst-no-such-package-5f2c" in done.stderr
        assert "hint:" in done.stderr
        assert not [row for row in kit.containers() if row["Config"]["Labels"]["karst.role"] == "app"]
    finally:
        kit.destroy()
