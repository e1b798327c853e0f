"""A bad new version: the old one goes on serving, the error says why, and the way back is one apply."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.integration.conftest import HELLO, JOB
from tests.support.kit import Kit

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("stack")]

CRASH = 'def main():\n    raise RuntimeError("the database is gone")\n\n\nif __name__ == "__main__":\n    main()\n'


def _ask(kit: Kit) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{kit.ports['front_door']}/", headers={"Host": "web.localhost"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def test_a_crashing_version_leaves_the_old_one_serving_and_others_deployed(tmp_path: Path) -> None:
    """Exit 5 with the app's last words; the other service of the same deploy is replaced; a revert converges."""
    kit = Kit(tmp_path / "kit", env={"KARST_GATE_TIMEOUT": "8"})
    for name, text in (("web", HELLO), ("other", JOB)):
        (kit.home / name).mkdir()
        (kit.home / name / "main.py").write_text(text)
    kit.write_list([{"slug": "dir:web", "expose": True}, "dir:other"])
    try:
        kit.deploy()
        assert _ask(kit) == b"version one"
        before = kit.pods()

        (kit.home / "web" / "main.py").write_text(CRASH)
        (kit.home / "other" / "main.py").write_text(JOB.replace("forty-two", "forty-three"))
        done = kit.iac("deploy", "--file", str(kit.list_file), check=5)
        assert "web is not healthy" in done.stderr
        assert "the database is gone" in done.stderr
        assert _ask(kit) == b"version one"
        web = kit.health()["web"]
        assert web["status"] == "SERVING"
        assert "the database is gone" in web["reason"]
        assert "forty-three" in kit.iac("logs", "--service", "other").stdout

        (kit.home / "web" / "main.py").write_text(HELLO.replace("version one", "version three"))
        kit.deploy()
        assert _ask(kit) == b"version three"
        health = kit.health()
        assert {row["status"] for row in health.values()} == {"SERVING", "COMPLETED"}
        assert len(kit.containers()) == 2 * 3 + 1, "nothing is left of the versions before"
        assert kit.pods() != before

        # Its container is gone, and why it crashed can still be read.
        told = kit.iac("logs", "--service", "web", "--previous").stdout
        assert "the database is gone" in told
        assert "karst: end of generation" in told
        assert "exit code 1" in told
        assert "the database is gone" in kit.iac("logs", "--service", "web", "--grep", "database").stdout
        assert "the database is gone" not in kit.iac("logs", "--service", "web", "--since", "0s").stdout
    finally:
        kit.iac("destroy", "--yes", check=None)
