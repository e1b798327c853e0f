"""From a crashed app's last lines to what is missing around it."""

from __future__ import annotations

import pytest

from karst.crash_errors import explain_crash


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "missing_library", "libgl1"),
        ("ImportError: libpq.so.5: cannot open shared object file", "missing_library", "libpq5"),
        ("OSError: cannot load library 'libpango-1.0-0': error", "missing_library", "libpango-1.0-0"),
        ('OSError: no library called "cairo-2" was found', "missing_library", "libcairo2"),
        ("ImportError: libpq library not found", "missing_library", "libpq5"),
        ("ImportError: failed to find libmagic.  Check your installation", "missing_library", "libmagic1"),
        ("OSError: libstrange.so.4: cannot open shared object file", "missing_library", "libstrange"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'ffmpeg'", "missing_program", "ffmpeg"),
        ("/bin/sh: 1: convert: not found", "missing_program", "imagemagick"),
        ("ImportError: Bad git executable.", "missing_program", "git"),
        ("OSError: [Errno 30] Read-only file system: '/app/cookie_secret'", "read_only", "/app/cookie_secret"),
        ("sqlite3.OperationalError: unable to open database file", "read_only", "/tmp"),
        ("ModuleNotFoundError: No module named 'redis.asyncio'", "missing_module", "redis"),
        ("zoneinfo._common.ZoneInfoNotFoundError: 'No time zone found with key UTC'", "missing_library", "tzdata"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(line: str, code: str, word: str) -> None:
    found = explain_crash(f"Traceback (most recent call last):\n  File x\n{line}\n")
    assert found is not None
    assert found.code == code
    assert word in found.message + found.hint


@pytest.mark.parametrize(
    "log", ["", "ValueError: bad", "FileNotFoundError: [Errno 2] No such file or directory: 'config.yaml'"]
)
def test_what_the_kit_cannot_help_with_gets_no_guess(log: str) -> None:
    assert explain_crash(log) is None


def test_the_last_traceback_counts() -> None:
    found = explain_crash(
        "ModuleNotFoundError: No module named 'a'\nretrying\nModuleNotFoundError: No module named 'b'\n"
    )
    assert found is not None
    assert found.message.startswith("it imports b")


@pytest.mark.parametrize(
    ("line", "path", "folder"),
    [
        (
            'nginx: [emerg] mkdir() "/var/cache/nginx/body" failed (30: Read-only file system)',
            "body",
            "/var/cache/nginx",
        ),
        ("/srv/data/visits: Read-only file system", "/srv/data/visits", "/srv/data"),
        ("sh: 1: cannot create /x: Read-only file system", "/x", "/"),
        ("OSError: [Errno 30] Read-only file system: '/app/cookie_secret'", "/app/cookie_secret", "/app"),
        ("Error: EROFS: read-only file system, open '/srv/app/log'", "/srv/app/log", "/srv/app"),
    ],
)
def test_an_image_of_the_repositorys_own_is_told_which_folder_to_open(line: str, path: str, folder: str) -> None:
    found = explain_crash(f"starting\n{line}\n", own_image=True)
    assert found is not None
    assert path in found.message
    assert f"add `writable: [{folder}]`" in found.hint


def test_an_image_of_the_repositorys_own_gets_no_hint_for_keys_that_it_cannot_have() -> None:
    assert explain_crash("/bin/sh: 1: convert: not found", own_image=True) is None
