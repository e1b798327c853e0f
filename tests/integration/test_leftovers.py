"""What an interrupted apply leaves behind without a record of it goes with the destroy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import JOB
from tests.support.envoy import base
from tests.support.kit import Kit, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]


def test_a_container_that_no_state_knows_is_removed_by_its_label(tmp_path: Path) -> None:
    """As an interrupt in the middle of a creation leaves it: created, labelled, unknown to Terraform."""
    kit = Kit(tmp_path / "kit")
    (kit.home / "once").mkdir()
    (kit.home / "once" / "main.py").write_text(JOB)
    kit.write_list(["dir:once"])
    kit.deploy()
    labels = ("--label", f"karst.stack={kit.stack}", "--label", "karst.service=once", "--label", "karst.role=pod")
    docker("create", *labels, base(), "true")
    kit.destroy()
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}
