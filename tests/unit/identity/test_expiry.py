"""When certificates end, as the page and the API show it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from karst.identity.expiry import expiries
from karst.identity.leaf import LIFETIME
from karst.identity.names import Identity
from karst.identity.store import Store

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def _issue(secrets: Path, name: str, now: dt.datetime) -> None:
    store = Store(secrets, now=now)
    with store.locked():
        store.ensure([Identity.parse(name, network="iacnet", trust_domain="karst.local")])


def test_the_authority_is_first_and_then_whoever_ends_first(tmp_path: Path) -> None:
    for days, name in ((0, "ops/edge"), (2, "web"), (1, "api")):
        _issue(tmp_path, name, NOW + dt.timedelta(days=days))
    found = [each.to_dict() for each in expiries(tmp_path)]
    assert [(each["name"], each["kind"]) for each in found[1:]] == [
        ("ops/edge", "tool"),
        ("api", "service"),
        ("web", "service"),
    ]
    assert found[0]["kind"] == "authority"
    assert found[2]["not_after"] == (NOW + dt.timedelta(days=1) + LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_folder_without_certificates_has_none_and_a_damaged_file_hides_no_other(tmp_path: Path) -> None:
    assert expiries(tmp_path / "none") == []
    _issue(tmp_path, "web", NOW)
    _issue(tmp_path, "api", NOW)
    (tmp_path / "mesh" / "api" / "svid.pem").write_text("not a certificate")
    assert [each.name for each in expiries(tmp_path)[1:]] == ["web"]
