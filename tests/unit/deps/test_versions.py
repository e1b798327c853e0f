"""A version for a project whose version is in git."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from karst.deps.tree import Tree
from karst.deps.versions import from_source, from_tag


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("v1.2.3", "1.2.3"),
        ("1.2", "1.2"),
        ("refs/tags/v2.0.0rc1", "2.0.0rc1"),
        ("release-3.1", "3.1"),
        ("shop-1.4.0", "1.4.0"),
        ("V1.0", "1.0"),
        ("main", ""),
        ("feature-1.2", ""),
        ("v1", ""),
        ("1234567", ""),
        ("2024.01.05", "2024.1.5"),
        ("", ""),
    ],
)
def test_a_tag_gives_its_version_and_a_branch_none(ref: str, version: str) -> None:
    assert from_tag(ref, "shop") == version


@given(st.text(max_size=40), st.text(max_size=60))
def test_whatever_the_ref_and_revision_the_result_is_a_pep_440_version(ref: str, revision: str) -> None:
    version = from_source(Tree(Path("/nonexistent")), ref, revision)
    assert str(Version(version)) == version


def test_a_published_archive_says_its_version(tmp_path: Path) -> None:
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: a\nVersion: 4.5.6\n\nVersion: 9\n")
    assert from_source(Tree(tmp_path), "v1.0", "a" * 40) == "4.5.6"


@pytest.mark.parametrize(
    ("describe", "version"), [("v1.2.0-0-gabc1234", "1.2.0.post0"), ("v1.2.0", "1.2.0"), ("$Format:%(describe)$", "")]
)
def test_the_file_of_git_archive_says_it_too(tmp_path: Path, describe: str, version: str) -> None:
    (tmp_path / ".git_archival.txt").write_text(f"node: abc\ndescribe-name: {describe}\n")
    assert from_source(Tree(tmp_path), "main", "a" * 40) == (version or "0.0.0+gaaaaaaaaaaaa")


def test_a_local_folder_is_named_by_its_hash() -> None:
    assert from_source(Tree(Path("/nonexistent")), "", "dir-0123456789ab") == "0.0.0+d0123456789ab"
