"""Secrets of the apps: from the environment to a file, and nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from karst.errors import KarstError, UsageError
from karst.identity import handle


def issue(secrets: Path, wanted: dict[str, list[str]], *names: str) -> dict[str, dict[str, str]]:
    query = {"secrets_dir": str(secrets), "services": json.dumps(names or ["web"]), "app_secrets": json.dumps(wanted)}
    return json.loads(handle(query)["services"])


def test_a_secret_becomes_a_file_of_exactly_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "  s3cret\n")
    answer = issue(tmp_path, {"web": ["TOKEN"]})["web"]
    assert answer["app_secrets"] == str(tmp_path / "app" / "web")
    assert (tmp_path / "app" / "web" / "TOKEN").read_text() == "  s3cret\n"


def test_bytes_that_are_no_text_arrive_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", os.fsdecode(b"\xff\xfe"))
    issue(tmp_path, {"web": ["TOKEN"]})
    assert (tmp_path / "app" / "web" / "TOKEN").read_bytes() == b"\xff\xfe"


def test_the_answer_holds_neither_the_value_nor_a_hash_one_could_guess_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders, two random keys: the same value has two digests."""
    monkeypatch.setenv("TOKEN", "hunter2hunter2")
    answers = [issue(tmp_path / place, {"web": ["TOKEN"]})["web"] for place in ("one", "two")]
    assert "hunter2" not in json.dumps(answers)
    assert answers[0]["app_secrets_digest"] != answers[1]["app_secrets_digest"]


def test_the_digest_changes_with_the_value_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        return issue(tmp_path, {"web": ["A", "B"]})["web"]["app_secrets_digest"]

    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("B", "2")
    first = digest()
    assert digest() == first
    monkeypatch.setenv("A", "12")
    monkeypatch.setenv("B", "")
    with pytest.raises(KarstError):
        digest()
    monkeypatch.setenv("B", "3")
    assert digest() != first


def test_all_that_is_missing_is_said_at_once_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "x")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("GONE", raising=False)
    with pytest.raises(KarstError, match=r"`GONE` \(service `api`\), `EMPTY` \(service `web`\)") as caught:
        issue(tmp_path, {"api": ["GONE"], "web": ["HERE", "EMPTY"]}, "api", "web")
    assert caught.value.code == "secret_missing"
    assert {name: "GONE" in one.message for name, one in caught.value.parts.items()} == {"api": True, "web": False}
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize("name", ["../x", "A/B", "", "1A", "A=B", "A\n"])
def test_a_name_that_is_no_variable_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        issue(tmp_path, {"web": [name]})


def test_a_service_gets_its_own_secrets_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("B", "2")
    answers = issue(tmp_path, {"web": ["A"], "api": ["B"]}, "web", "api", "plain")
    assert [path.name for path in (tmp_path / "app" / "web").iterdir()] == ["A"]
    assert [path.name for path in (tmp_path / "app" / "api").iterdir()] == ["B"]
    assert (answers["plain"]["app_secrets"], answers["plain"]["app_secrets_digest"]) == ("", "")


def test_what_is_no_longer_asked_for_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("B", "2")
    issue(tmp_path, {"web": ["A", "B"]})
    issue(tmp_path, {"web": ["B"]})
    assert [path.name for path in (tmp_path / "app" / "web").iterdir()] == ["B"]
    assert issue(tmp_path, {})["web"]["app_secrets"] == ""
    assert list((tmp_path / "app" / "web").iterdir()) == []


def test_the_app_can_read_its_file_and_nobody_else_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's user is 10001: its own file where root can arrange that, else readable below a closed folder."""
    monkeypatch.setenv("A", "1")
    issue(tmp_path, {"web": ["A"]})
    folder = tmp_path / "app" / "web"
    mode, owner = (folder / "A").stat().st_mode & 0o777, (folder / "A").stat().st_uid
    assert (mode, owner) == ((0o400, 10001) if os.geteuid() == 0 else (0o444, os.geteuid()))
    assert (tmp_path / "app").stat().st_mode & 0o077 == 0


def test_whatever_user_an_image_of_its_own_has_can_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows its number before it runs; the folder above stays closed."""
    monkeypatch.setenv("A", "1")
    query = {
        "secrets_dir": str(tmp_path),
        "services": '["web"]',
        "app_secrets": '{"web": ["A"]}',
        "own_images": '["web"]',
    }
    handle(query)
    folder = tmp_path / "app" / "web"
    assert ((folder / "A").stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o444, 0o755)
    assert (tmp_path / "app").stat().st_mode & 0o077 == 0
