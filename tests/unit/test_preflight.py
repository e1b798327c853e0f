"""A deploy that could not succeed on this host is refused before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst import preflight
from karst.errors import KarstError


def test_more_envoys_than_the_kernel_has_watches_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit Envoy aborts at its start, with a backtrace and no reason."""
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    monkeypatch.setattr(preflight, "INOTIFY", limit)
    preflight._check_inotify(21)
    with pytest.raises(KarstError, match="22 Envoys would run on this host and need 132 inotify instances") as caught:
        preflight._check_inotify(22)
    assert "sysctl fs.inotify.max_user_instances" in caught.value.hint


def test_a_system_without_that_limit_is_no_reason_to_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "INOTIFY", tmp_path / "absent")
    preflight._check_inotify(1000)
