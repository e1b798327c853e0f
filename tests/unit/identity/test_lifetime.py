"""How long a certificate is valid, and what a change of that does to those that are there."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509

from karst.errors import UsageError
from karst.identity import handle
from karst.identity.settings import lifetime

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1h", HOUR), ("60m", HOUR), ("3600s", HOUR), ("7d", 7 * DAY), ("90d", 90 * DAY), (" 2h ", 2 * HOUR)],
)
def test_a_lifetime_is_a_number_and_its_unit(monkeypatch: pytest.MonkeyPatch, text: str, value: dt.timedelta) -> None:
    monkeypatch.setenv("KARST_CERT_LIFETIME", text)
    assert lifetime() == value


@pytest.mark.parametrize("text", ["59m", "91d", "0d", "7", "d", "-1h", "1.5h", "1 d", "1w", "٧d", "7d7h", "9999999d"])
def test_a_lifetime_out_of_bounds_or_of_no_unit_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KARST_CERT_LIFETIME", text)
    with pytest.raises(UsageError, match="KARST_CERT_LIFETIME is"):
        lifetime()


def test_terraforms_word_counts_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_CERT_LIFETIME", "1d")
    assert lifetime("2h") == 2 * HOUR
    assert lifetime("") == DAY
    monkeypatch.delenv("KARST_CERT_LIFETIME")
    assert lifetime() == 7 * DAY


def test_a_shorter_lifetime_replaces_what_is_valid_for_longer_and_a_longer_one_nothing(tmp_path: Path) -> None:
    """Whoever asks for one day does not want last week's certificate to go on for six."""

    def issue(wanted: str) -> x509.Certificate:
        handle({"secrets_dir": str(tmp_path), "services": json.dumps(["web"]), "lifetime": wanted})
        return x509.load_pem_x509_certificate((tmp_path / "mesh" / "web" / "svid.pem").read_bytes())

    week, day = issue("7d"), issue("1d")
    assert day != week
    assert DAY - HOUR < day.not_valid_after_utc - dt.datetime.now(dt.UTC) <= DAY
    assert issue("1d") == day
    assert issue("7d") == day, "it is not due, and the next one will live longer"
