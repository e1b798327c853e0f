"""Poetry's constraints and markers in the words of PEP 440 and 508."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from karst.deps.pep508 import both, environments, from_poetry, holds, python_marker, without_extra


@pytest.mark.parametrize(
    ("poetry", "pep440"),
    [
        ("*", ""),
        ("", ""),
        ("^1.2.3", ">=1.2.3,<2.0.0"),
        ("^0.2.3", ">=0.2.3,<0.3.0"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("^1", ">=1,<2"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4", "~=1.4"),
        ("1.2.3", "==1.2.3"),
        ("1.2.*", "==1.2.*"),
        ("=1.2", "==1.2"),
        (">= 1.0, < 2", ">=1.0,<2"),
        (">=1.0 <2.0", ">=1.0,<2.0"),
        ("!=1.5", "!=1.5"),
        ("^1.0 || ^2.0", ">=1.0,<3.0"),
        ("^2.0 | >=1.5,<1.6", ">=1.5,<3.0"),
        ("1.0 || *", ""),
    ],
)
def test_a_constraint_of_poetry_has_a_pep_440_form(poetry: str, pep440: str) -> None:
    assert from_poetry(poetry) == pep440


@given(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)))
def test_a_caret_holds_its_own_version_and_not_the_next_breaking_one(release: tuple[int, int, int]) -> None:
    major, minor, patch = release
    specifier = SpecifierSet(from_poetry(f"^{major}.{minor}.{patch}"))
    breaking = f"{major + 1}.0.0" if major else f"0.{minor + 1}.0" if minor else f"0.0.{patch + 1}"
    assert specifier.contains(f"{major}.{minor}.{patch}")
    assert not specifier.contains(breaking)


@pytest.mark.parametrize(
    ("marker", "python", "verdict"),
    [
        ("", "3.11", True),
        ("sys_platform == 'win32'", "", False),
        ("platform_system == 'Linux'", "", True),
        ("python_version < '3.11'", "3.11", False),
        ("python_version < '3.11'", "", None),
        ("python_full_version < '3.11.4'", "3.11", None),
        ("platform_machine == 'aarch64'", "3.11", None),
        ("extra == 'tls'", "3.11", False),
        ("not a marker", "3.11", None),
    ],
)
def test_a_marker_is_decided_only_where_the_image_decides_it(marker: str, python: str, verdict: bool | None) -> None:
    assert holds(marker, environments(python)) is verdict


def test_an_asked_for_extra_makes_its_marker_true() -> None:
    assert holds("extra == 'tls'", environments("3.11"), ["tls"]) is True


@pytest.mark.parametrize(
    ("marker", "rest"),
    [
        ("extra == 'a'", ""),
        ("python_version < '3.9' and extra == 'a'", 'python_version < "3.9"'),
        ('extra == "a" and sys_platform == "linux"', 'sys_platform == "linux"'),
    ],
)
def test_an_answered_extra_is_taken_out_of_a_marker(marker: str, rest: str) -> None:
    assert without_extra(marker) == rest


def test_a_python_constraint_becomes_a_marker() -> None:
    assert python_marker("^3.9") == 'python_version < "4.0" and python_version >= "3.9"'
    assert python_marker(">=3.9.1") == 'python_full_version >= "3.9.1"'


def test_joined_markers_keep_their_meaning() -> None:
    assert both("a == '1' or b == '2'", "c == '3'") == "(a == '1' or b == '2') and c == '3'"
    assert both("", "c == '3'") == "c == '3'"
