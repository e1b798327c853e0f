"""What a destroy leaves behind: nothing of the stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180), pytest.mark.xdist_group("stack")]


def test_destroy_leaves_no_container_network_volume_or_image_and_keeps_the_keys(tmp_path: Path) -> None:
    """A stack of its own, so that the order of the tests does not matter; the secrets folder stays."""
    folder = tmp_path / "once"
    folder.mkdir()
    (folder / "main.py").write_text('def main():\n    print("once")\n\n\nif __name__ == "__main__":\n    main()\n')
    kit = Kit(tmp_path / "kit")
    kit.write_list([f"dir:{folder}"])
    try:
        kit.deploy()
        assert kit.leftovers()["containers"]
    finally:
        kit.destroy()
    assert kit.leftovers() == {"containers": "", "networks": "", "volumes": "", "images": ""}
    assert (kit.secrets_dir / "ca.key").exists()
    assert kit.list_file.exists()
