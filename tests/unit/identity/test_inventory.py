"""What `iac certs` says of each certificate: due or not, in use or not."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509

from karst.errors import UsageError
from karst.identity import handle, inventory, rotate
from karst.identity.served import Seen
from karst.identity.store import Store
from tests.support import certificates as forge

DAY = dt.timedelta(days=1)


def rows(secrets: Path, seen: list[Seen] | None, *, after: dt.timedelta = dt.timedelta()) -> dict[str, inventory.Row]:
    store = Store(secrets, now=dt.datetime.now(dt.UTC) + after)
    return {row.name: row for row in inventory.rows(store, inventory.identities(store), seen)}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    handle({"secrets_dir": str(tmp_path), "services": json.dumps(["web", "ops/edge", "ops/operator"])})
    return tmp_path


def serial(secrets: Path, name: str = "web") -> int:
    return x509.load_pem_x509_certificate((secrets / "mesh" / name / "svid.pem").read_bytes()).serial_number


def test_a_row_says_whose_it_is_from_whom_and_until_when(secrets: Path) -> None:
    leaf = x509.load_pem_x509_certificate((secrets / "mesh" / "web" / "svid.pem").read_bytes())
    row = rows(secrets, [])["web"]
    assert (row.uri, int(row.serial, 16)) == ("spiffe://karst.local/svc/web", leaf.serial_number)
    assert row.not_after == leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert row.issuer == rows(secrets, [])["ca"].issuer
    assert 0 <= 7 * 86400 - row.seconds_left < 60


@pytest.mark.parametrize(("days", "due"), [(0, ""), (5, "less than a third"), (8, "it has expired")])
def test_what_is_due_says_why(secrets: Path, days: int, due: str) -> None:
    row = rows(secrets, [], after=days * DAY)["web"]
    assert due in row.due
    assert row.fine is (not due)


def test_an_authority_gives_notice_a_month_before_its_end(secrets: Path) -> None:
    assert rows(secrets, [], after=5 * 365 * DAY - 31 * DAY)["ca"].due == ""
    assert "expires soon" in rows(secrets, [], after=5 * 365 * DAY - 29 * DAY)["ca"].due


def test_an_authority_that_cannot_issue_makes_every_identity_due(secrets: Path) -> None:
    """A timer's `--check` must not stay green while nothing could be renewed."""
    (secrets / "ca.key").write_bytes(forge.pem(forge.new_key()))
    assert "is not the key of any certificate" in rows(secrets, [])["web"].due


def test_what_runs_is_compared_with_the_file(secrets: Path) -> None:
    own, other = frozenset({serial(secrets)}), frozenset({1})
    for seen, served in (
        ([], "not running"),
        (None, "unknown"),
        ([Seen("web", "web-pod-1", own)], "yes"),
        ([Seen("web", "web-pod-1", other)], "no"),
        ([Seen("web", "web-pod-1", own | other)], "no"),  # in the middle of a change
        ([Seen("web", "web-pod-1", own), Seen("web", "web-pod-2", other)], "no"),
        ([Seen("web", "web-pod-1", problem="connection refused")], "unknown"),
        ([Seen("api", "api-pod-1", other)], "not running"),
    ):
        row = rows(secrets, seen)["web"]
        assert row.served == served, seen
        assert row.fine is (served in ("yes", "not running"))


def test_nothing_is_written_by_looking(secrets: Path) -> None:
    (secrets / "ca.key").unlink()
    before = {path: path.stat().st_mtime_ns for path in secrets.rglob("*")}
    assert "ca.key is missing" in rows(secrets, [], after=5 * DAY)["web"].due
    assert {path: path.stat().st_mtime_ns for path in secrets.rglob("*")} == before


def test_a_folder_without_identities_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no identities"):
        inventory.identities(Store(tmp_path))


def test_an_unknown_identity_is_named_with_the_nearest_one(secrets: Path) -> None:
    known = inventory.identities(Store(secrets))
    assert [one.name for one in rotate.choose(known, ["edge", "web"])] == ["ops/edge", "web"]
    with pytest.raises(UsageError, match="there is no identity `wbe`") as caught:
        rotate.choose(known, ["web", "wbe"])
    assert caught.value.hint == "did you mean `web`?"
