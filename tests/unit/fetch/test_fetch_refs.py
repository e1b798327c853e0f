"""Refs: reading git's advertisement, and choosing the commit that a slug means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karst.errors import KarstError
from karst.fetch.refs import Advertisement, BadAdvertisement, choose, parse_advertisement
from karst.slug import parse

A, B, C = "a" * 40, "b" * 40, "c" * 40


def pkt(*lines: str | None) -> bytes:
    """Pkt-lines; None is a flush packet."""
    return b"".join(b"0000" if line is None else f"{len(line.encode()) + 4:04x}{line}".encode() for line in lines)


def body(*refs: str, capabilities: str = "multi_ack symref=HEAD:refs/heads/main agent=git/2") -> bytes:
    first, *rest = refs
    return pkt("# service=git-upload-pack\n", None, f"{first}\0{capabilities}\n", *(f"{ref}\n" for ref in rest), None)


REPOSITORY = Advertisement(
    {
        "HEAD": A,
        "refs/heads/main": A,
        "refs/heads/v2": B,
        "refs/heads/feature/login": B,
        "refs/tags/v1.0": C,
        "refs/tags/v2": C,
        "refs/pull/7/head": B,
    },
    "refs/heads/main",
)


def test_an_advertisement_gives_refs_peeled_tags_and_the_default_branch() -> None:
    data = body(f"{A} HEAD", f"{A} refs/heads/main", f"{B} refs/tags/v1", f"{C} refs/tags/v1^{{}}")
    assert parse_advertisement(data) == Advertisement(
        {"HEAD": A, "refs/heads/main": A, "refs/tags/v1": C}, "refs/heads/main"
    )


def test_protocol_1_and_shallow_lines_are_passed_over() -> None:
    data = pkt("# service=git-upload-pack\n", None, "version 1\n", f"{A} HEAD\0agent=x\n", f"shallow {B}\n", None)
    assert parse_advertisement(data).refs == {"HEAD": A}


def test_an_empty_repository_has_no_refs() -> None:
    assert parse_advertisement(body(f"{'0' * 40} capabilities^{{}}", capabilities="agent=x")).refs == {}


def test_sha256_repositories_are_read_too() -> None:
    assert parse_advertisement(body(f"{'d' * 64} HEAD")).refs == {"HEAD": "d" * 64}


@pytest.mark.parametrize(
    "branches", [["refs/heads/main", "refs/heads/a"], ["refs/heads/master", "refs/heads/a"], ["refs/heads/a"]]
)
def test_a_server_without_symref_has_the_likeliest_default_branch(branches: list[str]) -> None:
    data = body(f"{A} HEAD", *(f"{A} {name}" for name in sorted(branches)), capabilities="agent=old")
    assert parse_advertisement(data).head == branches[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html>",
        b"001",
        b"zzzz",
        b"0003",
        b"00ff# service",
        pkt("# service=git-receive-pack\n"),
        pkt("hello\n"),
        pkt("# service=git-upload-pack\n", None, "nonsense\n"),
        pkt("# service=git-upload-pack\n", None, "ERR go away\n"),
        body(f"{A} HEAD")[:-9],
    ],
)
def test_what_is_not_gits_answer_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(BadAdvertisement):
        parse_advertisement(data)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda raw: body(f"{A} HEAD")[:-4] + raw))
@settings(deadline=None, max_examples=400)
def test_any_bytes_are_an_advertisement_or_one_error(data: bytes) -> None:
    try:
        result = parse_advertisement(data)
    except BadAdvertisement:
        return
    assert all(len(value) in (40, 64) for value in result.refs.values())


NAMES = st.from_regex(r"refs/(heads|tags)/[a-z0-9][a-z0-9/-]{0,10}[a-z0-9]", fullmatch=True)


@given(st.dictionaries(NAMES, st.text("0123456789abcdef", min_size=40, max_size=40), min_size=1, max_size=6))
@settings(deadline=None, max_examples=100)
def test_an_advertisement_round_trips(refs: dict[str, str]) -> None:
    assert parse_advertisement(body(*(f"{value} {name}" for name, value in refs.items()))).refs == refs


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("gh:o/r", ("refs/heads/main", A)),
        ("gh:o/r#HEAD", ("HEAD", A)),
        ("gh:o/r#v1.0", ("refs/tags/v1.0", C)),
        ("gh:o/r#v2", ("refs/tags/v2", C)),
        ("gh:o/r#heads/v2", ("refs/heads/v2", B)),
        ("gh:o/r#refs/heads/v2", ("refs/heads/v2", B)),
        ("gh:o/r#feature/login", ("refs/heads/feature/login", B)),
        ("gh:o/r#pull/7/head", ("refs/pull/7/head", B)),
    ],
)
def test_a_ref_is_looked_up_in_gits_own_order(slug: str, expected: tuple[str, str]) -> None:
    assert choose(REPOSITORY, parse(slug)) == expected


@pytest.mark.parametrize(
    ("ref", "code", "hint"),
    [
        ("mian", "ref_not_found", "`main`"),
        ("1.0", "ref_not_found", "`v1.0`"),
        ("V2", "ref_not_found", "`v2`"),
        ("zzz", "ref_not_found", "default branch is `main`"),
        ("bbbbbbb", "short_sha", f"gh:o/r#{B}"),
        ("1234567", "short_sha", "all 40 characters"),
    ],
)
def test_a_missing_ref_suggests_what_there_is(ref: str, code: str, hint: str) -> None:
    with pytest.raises(KarstError) as caught:
        choose(REPOSITORY, parse(f"gh:o/r#{ref}"))
    assert caught.value.code == code
    assert ref in caught.value.message
    assert hint in caught.value.hint


def test_a_repository_without_commits_or_default_branch_says_so() -> None:
    with pytest.raises(KarstError, match="empty repository"):
        choose(Advertisement(), parse("gh:o/r"))
    with pytest.raises(KarstError) as caught:
        choose(Advertisement({"refs/heads/dev": A}, "refs/heads/gone"), parse("gh:o/r"))
    assert "`gone` does not exist" in caught.value.message
    assert "gh:o/r#dev" in caught.value.hint
