"""Unpacking: what a repository may hold comes out; what an attacker adds is refused, and nothing lands outside."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karst.errors import KarstError
from karst.fetch.archive import Broken, Unpacked, Unsafe, unpack
from karst.fetch.limits import MIB, Budget, Limits

Member = tuple[str, dict[str, object], bytes]


def entry(name: str, data: bytes = b"", **attributes: object) -> Member:
    return name, attributes, data


def link(name: str, target: str, *, hard: bool = False) -> Member:
    return name, {"type": tarfile.LNKTYPE if hard else tarfile.SYMTYPE, "linkname": target}, b""


def archive(*members: Member, comment: str = "", packed: bool = True) -> bytes:
    raw = io.BytesIO()
    headers = {"comment": comment} if comment else {}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        for name, attributes, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o644
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0) if packed else raw.getvalue()


def out(data: bytes, target: Path, limits: Limits | None = None) -> Unpacked:
    folder = target / "inside"
    folder.mkdir()
    return unpack(io.BytesIO(data), folder, Budget(limits or Limits()), compressed=len(data))


def refused(data: bytes, target: Path, limits: Limits | None = None) -> str:
    """The sentence with which ``data`` is refused; nothing may have been written beside the folder."""
    with pytest.raises(Unsafe) as caught:
        out(data, target, limits)
    assert [path.name for path in target.iterdir()] == ["inside"]
    assert "\n" not in caught.value.message
    return caught.value.message


def test_files_folders_and_links_come_out_without_the_top_folder(tmp_path: Path) -> None:
    data = archive(
        entry("app-1/", type=tarfile.DIRTYPE),
        entry("app-1/main.py", b"print(1)\n"),
        entry("app-1/bin/run", b"#!/bin/sh\n", mode=0o755),
        link("app-1/docs/readme", "../main.py"),
        entry("app-1/empty/", type=tarfile.DIRTYPE),
        comment="c" * 40,
    )
    unpacked = out(data, tmp_path)
    root = tmp_path / "inside"
    assert (root / "main.py").read_text() == "print(1)\n"
    assert (root / "docs/readme").readlink() == Path("../main.py")
    assert (root / "empty").is_dir()
    assert unpacked.comment == "c" * 40
    assert unpacked.mtime == 1_700_000_000
    assert unpacked.size == 19


def test_a_plain_tar_is_read_as_well(tmp_path: Path) -> None:
    out(archive(entry("a/x", b"1"), packed=False), tmp_path)
    assert (tmp_path / "inside/x").read_bytes() == b"1"


def test_setuid_and_odd_modes_are_not_kept(tmp_path: Path) -> None:
    out(archive(entry("a/x", b"1", mode=0o6777), entry("a/y", b"1", mode=0o000)), tmp_path)
    assert (tmp_path / "inside/x").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "inside/y").stat().st_mode & 0o7777 == 0o644


def test_owners_are_not_kept(tmp_path: Path) -> None:
    out(archive(entry("a/x", b"1", uid=1234, gid=1234)), tmp_path)
    assert (tmp_path / "inside/x").stat().st_uid == os.getuid()


def test_a_hard_link_becomes_a_copy(tmp_path: Path) -> None:
    out(archive(entry("a/x", b"1"), link("a/y", "a/x", hard=True)), tmp_path)
    assert (tmp_path / "inside/y").read_bytes() == b"1"
    assert (tmp_path / "inside/y").stat().st_nlink == 1


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a/b/../../../evil", "/a/evil"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert "leaves its folder" in refused(archive(entry("a/ok", b"1"), entry(name, b"evil")), tmp_path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a/l", "/etc/passwd"),
        ("a/l", "../../etc/passwd"),
        ("a/l", ".."),
        ("a/deep/l", "../.."),
        ("a/l", "x/../../y"),
        ("a/l", ""),
    ],
)
def test_a_link_that_leaves_the_repository_is_refused(tmp_path: Path, name: str, target: str) -> None:
    assert "leaves the repository" in refused(archive(entry("a/ok", b"1"), link(name, target)), tmp_path)


def test_links_that_leave_it_only_together_are_refused(tmp_path: Path) -> None:
    data = archive(entry("a/d/e/ok", b"1"), link("a/d/e/up", "../.."), link("a/d/e/out", "up/../../x"))
    assert "leaves the repository" in refused(data, tmp_path)


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    data = archive(entry("a/real/ok", b"1"), link("a/l", "real"), entry("a/l/evil", b"evil"))
    with pytest.raises(Unsafe, match="below a file or link"):
        out(data, tmp_path)
    assert not list((tmp_path / "outside").iterdir())


def test_a_hard_link_to_outside_or_to_a_link_is_refused(tmp_path: Path) -> None:
    assert "leaves" in refused(archive(entry("a/ok", b"1"), link("a/h", "a/../../etc/passwd", hard=True)), tmp_path)


def test_a_hard_link_to_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    data = archive(entry("a/ok", b"1"), link("a/s", "ok"), link("a/h", "a/s", hard=True))
    assert "leaves the repository" in refused(data, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V"])
def test_devices_and_pipes_are_refused(tmp_path: Path, kind: bytes) -> None:
    message = refused(archive(entry("a/ok", b"1"), entry("a/dev", type=kind)), tmp_path)
    assert "a device" in message or "neither file" in message


def test_a_path_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "twice" in refused(archive(entry("a/x", b"1"), entry("a/x", b"2")), tmp_path)


def test_two_top_folders_are_refused(tmp_path: Path) -> None:
    assert "more than one top folder" in refused(archive(entry("a/x", b"1"), entry("b/x", b"2")), tmp_path)


@pytest.mark.parametrize("name", ["a/.git/config", "a/sub/.GIT/hooks/x", "a/.git"])
def test_a_repository_inside_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    assert ".git" in refused(archive(entry(name, b"1")), tmp_path)


def test_a_name_that_no_disk_holds_is_refused(tmp_path: Path) -> None:
    assert "cannot hold" in refused(archive(entry("a/" + "x" * 300, b"1")), tmp_path)


def test_a_bomb_of_bytes_is_refused_while_it_unpacks(tmp_path: Path) -> None:
    data = archive(entry("a/zeros", bytes(8 * MIB)))
    assert "more than 4 MiB unpacked" in refused(data, tmp_path, Limits(tree=4 * MIB))
    written = sum(path.stat().st_size for path in (tmp_path / "inside").rglob("*"))
    assert written <= 4 * MIB


def test_a_bomb_that_unpacks_to_many_times_its_size_is_refused(tmp_path: Path) -> None:
    data = archive(entry("a/zeros", bytes(80 * MIB)))
    assert "200 times its size" in refused(data, tmp_path)


def test_a_bomb_of_files_is_refused(tmp_path: Path) -> None:
    data = archive(*(entry(f"a/{n}") for n in range(50)))
    assert "more than 20 files" in refused(data, tmp_path, Limits(files=20))


def test_a_header_that_wants_to_be_read_into_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 64 * MIB
    raw = info.tobuf() + bytes(64 * MIB)
    assert "header of more than 1 MiB" in refused(gzip.compress(raw, 1), tmp_path)


def test_the_hint_for_a_limit_names_its_variable(tmp_path: Path) -> None:
    with pytest.raises(Unsafe) as caught:
        out(archive(entry("a/x"), entry("a/y")), tmp_path, Limits(files=1))
    assert "KARST_FETCH_MAX_FILES" in caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f",
        b"\x1f\x8b",
        b"<!doctype html>",
        b"PK\x03\x04",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"x" * 900, mtime=0),
    ],
)
def test_what_is_no_archive_is_broken(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Broken):
        out(data, tmp_path)


def test_an_archive_that_is_cut_short_is_broken_at_every_length(tmp_path: Path) -> None:
    data = archive(entry("a/x", os.urandom(3000)), entry("a/y", b"1"))
    for number, length in enumerate(range(10, len(data) - 1, 97)):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(Broken):
            out(data[:length], tmp_path / str(number))


@given(st.data())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_byte_is_unpacked_inside_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(archive(entry("a/x", b"1" * 600), link("a/l", "x"), entry("a/d/y", b"2"), packed=False))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        out(bytes(raw), folder)
    except (Broken, Unsafe):
        pass
    except KarstError:  # no other kind
        raise
    assert [path.name for path in folder.iterdir()] == ["inside"]
