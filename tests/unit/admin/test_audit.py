"""The audit log's chain: whatever is done to the file afterwards is found, and where."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from admin.audit import Audit, head_path, verify


@pytest.fixture
def log(tmp_path: Path) -> Path:
    audit = Audit(tmp_path / "audit.ndjson")
    for number in range(5):
        audit.write("run.start", "user:x", "accepted", run=f"r{number}")
    return audit.path


def test_an_untouched_log_verifies(log: Path) -> None:
    assert verify(log).ok
    assert verify(log).records == 5
    assert stat.S_IMODE(log.stat().st_mode) == stat.S_IMODE(head_path(log).stat().st_mode) == 0o600


def test_no_log_yet_is_fine(tmp_path: Path) -> None:
    assert verify(tmp_path / "audit.ndjson").ok


def _edit(change: Callable[[list[str]], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        change(lines)
        path.write_text("".join(lines))

    return edit


def _reword(lines: list[str]) -> None:
    lines[2] = lines[2].replace('"r2"', '"rX"')


def _rehash(lines: list[str]) -> None:
    """A forger who knows the scheme, and makes the record fit itself: the next one does not fit it."""
    import hashlib

    record = json.loads(lines[2]) | {"actor": "user:innocent"}
    del record["hash"]
    record["hash"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    lines[2] = json.dumps(record, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_reword, 3),
        (_rehash, 4),
        (lambda lines: lines.pop(2), 3),
        (lambda lines: lines.pop(0), 1),
        (lambda lines: lines.insert(2, lines[1]), 3),
        (lambda lines: lines.insert(2, "not a record\n"), 3),
        (lambda lines: lines.__setitem__(slice(1, 3), lines[2:0:-1]), 2),
        (lambda lines: lines.append("{}\n"), 6),
        (lambda lines: lines.append('{"half'), 6),
    ],
)
def test_a_changed_log_is_found_out_with_the_line(change: Callable[[list[str]], None], line: int, log: Path) -> None:
    _edit(change)(log)
    verdict = verify(log)
    assert (verdict.ok, verdict.line) == (False, line)
    assert verdict.reason


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_log_cut_off_at_the_end_does_not_match_its_head(kept: int, log: Path) -> None:
    """The chain alone cannot tell; the head file beside it does."""
    _edit(lambda lines: lines.__delitem__(slice(kept, None)))(log)
    assert not verify(log).ok


def test_a_missing_head_is_found_out(log: Path) -> None:
    head_path(log).unlink()
    assert not verify(log).ok


def test_a_crash_between_record_and_head_is_no_tampering(log: Path) -> None:
    head = head_path(log).read_text()
    Audit(log).write("run.end", "user:x", "ok")
    head_path(log).write_text(head)
    assert verify(log).ok
    Audit(log).write("run.start", "user:x", "accepted")
    assert verify(log) == verify(log)
    assert verify(log).records == 7


def test_half_a_line_from_a_crash_stays_and_the_next_record_vouches_for_it(log: Path) -> None:
    """Appending goes on; changing the half line later is found."""
    with log.open("a") as handle:
        handle.write('{"action": "run.en')
    assert not verify(log).ok
    Audit(log).write("run.start", "user:x", "accepted")
    assert verify(log).ok
    assert verify(log).records == 6
    _edit(lambda lines: lines.__setitem__(5, '{"other\n'))(log)
    assert not verify(log).ok


def test_several_writers_keep_one_chain(tmp_path: Path) -> None:
    """Threads and other processes append under one lock."""
    path = tmp_path / "audit.ndjson"

    def write() -> None:
        for _ in range(10):
            Audit(path).write("x", "y", "z")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verify(path).ok, verify(path).records) == (True, 40)


def test_odd_text_in_a_record_breaks_no_line(log: Path) -> None:
    Audit(log).write("refused", "nobody", "not_found", path="/x\n{}\u2028\ud800\x1b[2J")
    assert verify(log).ok
    assert b"\x1b" not in log.read_bytes()
