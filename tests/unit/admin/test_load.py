"""What open streams cost the admin app, in counts: nothing stays behind, and everybody is answered beside them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.bench_admin.__main__ import churn
from tests.bench_admin.load import STREAMS
from tests.bench_admin.server import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_thousand_streams_leave_nothing_behind(tmp_path: Path) -> None:
    """Threads and files as before; memory no more than what the first ones took."""
    with running(tmp_path, pause=0.2) as server:
        sizes = churn(server, 1000)
    (_, first), (_, second), *_, (opened, last) = sizes
    assert opened == 1000
    assert (last["Threads"], last["files"]) == (first["Threads"], first["files"])
    # The second count is past the growth of pools and caches; 4 MiB are 5 KiB for each stream after it.
    assert last["VmRSS"] - second["VmRSS"] < 4096, sizes


def test_health_and_reads_are_answered_beside_twenty_streams(tmp_path: Path) -> None:
    with running(tmp_path, pause=0.02) as server, contextlib.ExitStack() as opened:
        streams = []
        for number in range(STREAMS):
            connection, response = server.stream(number)
            opened.enter_context(contextlib.closing(connection))
            streams.append(response)
        for _ in range(3):
            assert all(stream.readline() for stream in streams)
            for path, token in (("/health", ""), ("/v1/deploys", server.tokens[0]), ("/v1/me", server.tokens[1])):
                connection, response = server.request(path, token)
                with contextlib.closing(connection):
                    assert response.status == 200
