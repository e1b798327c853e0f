"""What is kept of a generation that goes: bounded, its owner's only, and never a reason for a deploy to fail."""

from __future__ import annotations

import os
import time
from pathlib import Path

import docker.errors
import pytest

from karst import kept_logs
from tests.unit.test_logs import SPAN, Docker, app, at


def test_how_a_stopped_container_ended_is_read_from_docker(tmp_path: Path) -> None:
    docker_ = Docker({"a": [at(1, "last")]})
    docker_.states["a"] = {"Running": False, "ExitCode": 137, "OOMKilled": True, "Error": ""}
    kept_logs.keep(docker_, app("a", 1, "g1"), tmp_path)
    [(kept, path)] = kept_logs.read(tmp_path, "shop")
    assert (kept.exit_code, kept.reason, kept.cut) == (137, "killed for want of memory", False)
    assert list(kept_logs.lines(path)) == [at(1, "last")]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_container_that_docker_starts_again_and_again_has_ended_too(tmp_path: Path) -> None:
    """Docker calls it running between two starts; nobody in it could be asked."""
    docker_ = Docker({"a": [at(1, "last")]})
    docker_.states["a"] = {"Running": True, "Restarting": True, "ExitCode": 29}
    kept_logs.keep(docker_, app("a", 1, "g1"), tmp_path)
    [(kept, _)] = kept_logs.read(tmp_path, "shop")
    assert (kept.exit_code, kept.reason) == (29, "exited with code 29 (started again 0 times)")


def test_only_the_last_lines_are_kept_and_spans_are_none(tmp_path: Path) -> None:
    many = kept_logs.MAX_LINES + 5
    docker_ = Docker({"a": [at(1, f"line {n}") for n in range(many)] + [SPAN], "b": [at(1, "x" * 9000)] * 200})
    for name in ("a", "b"):
        kept_logs.keep(docker_, app(name, ord(name), f"g{name}"), tmp_path)
    (a, first), (b, second) = kept_logs.read(tmp_path, "shop")
    lines = list(kept_logs.lines(first))
    assert (a.cut, len(lines), lines[0], lines[-1]) == (
        True,
        kept_logs.MAX_LINES,
        at(1, "line 5"),
        at(1, f"line {many - 1}"),
    )
    assert b.cut
    assert kept_logs.MAX_BYTES * 0.9 < second.stat().st_size < kept_logs.MAX_BYTES + 1000


def test_a_log_kept_twice_is_one_and_old_ones_go(tmp_path: Path) -> None:
    docker_ = Docker({str(n): [at(1, "x")] for n in range(20)})
    old = tmp_path / "left" / "0000000001-g-x.log"
    old.parent.mkdir()
    old.write_text("{}\n")
    os.utime(old, (0, time.time() - 86400 * (kept_logs.DAYS + 1)))
    for n in [*range(15), 14]:
        kept_logs.keep(docker_, app(str(n), n, f"g{n}"), tmp_path)
    generations = [kept.generation for kept, _ in kept_logs.read(tmp_path, "shop")]
    assert generations == [f"g{n}" for n in range(15)][-kept_logs.GENERATIONS_PER_SERVICE :]
    assert not old.exists()


def test_a_log_that_cannot_be_kept_is_said_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(Docker):
        def inspect_container(self, container: str) -> dict[str, object]:
            raise docker.errors.NotFound(f"no such container: {container}")

    kept_logs.keep(Gone({}), app("a", 1, "g1"), tmp_path)
    (tmp_path / "file").touch()
    kept_logs.keep(Docker({"a": []}), app("a", 1, "g1"), tmp_path / "file")
    assert capsys.readouterr().err.count("could not be kept") == 2


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "1-g-x.log").write_text("{")
    assert kept_logs.read(tmp_path, "shop") == []


def test_the_pods_of_one_generation_count_once(tmp_path: Path) -> None:
    docker_ = Docker({f"{n}{pod}": [at(1, "x")] for n in range(20) for pod in "abc"})
    for n in range(12):
        for pod in "abc":
            kept_logs.keep(docker_, app(f"{n}{pod}", n, f"g{n}"), tmp_path)
    found = [kept.generation for kept, _ in kept_logs.read(tmp_path, "shop")]
    assert found == [f"g{n}" for n in range(12) for _ in "abc"][-3 * kept_logs.GENERATIONS_PER_SERVICE :]
