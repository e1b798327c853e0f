"""The generated Python of proto/controlplane.proto: in step, importable, and the same for both who speak it."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst import protogen
from karst.errors import UsageError


def test_the_committed_files_are_what_the_proto_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert protogen.main(["--check"]) == 0, capsys.readouterr().out


def test_a_file_that_is_behind_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protogen, "PACKAGES", (tmp_path / "pb",))
    monkeypatch.setattr(protogen, "ROOT", tmp_path)
    monkeypatch.setattr(protogen, "PROTO", _copy(tmp_path))
    assert protogen.main(["--check"]) == 1
    assert "pb/controlplane_pb2.py is not what controlplane.proto says: run `make proto`" in capsys.readouterr().out
    assert protogen.main([]) == 0
    assert protogen.main(["--check"]) == 0
    assert "from . import controlplane_pb2" in (tmp_path / "pb" / "controlplane_pb2_grpc.py").read_text()


def _copy(folder: Path) -> Path:
    copy = folder / "controlplane.proto"
    copy.write_text(protogen.PROTO.read_text())
    return copy


def test_a_wrong_argument_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        protogen.main(["--chek"])


def test_the_numbers_of_the_first_states_are_those_of_grpc_health() -> None:
    """A client that knows only grpc.health.v1 must not misread ours."""
    from grpc_health.v1 import health_pb2

    from karst.pb import controlplane_pb2 as pb

    for name in ("UNKNOWN", "SERVING", "NOT_SERVING"):
        assert pb.HealthStatus.Status.Value(name) == health_pb2.HealthCheckResponse.ServingStatus.Value(name)
