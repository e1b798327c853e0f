"""Slugs: what is one, and what a person reads when theirs is not."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from karst.errors import UsageError
from karst.slug import Slug, check_ref, parse

ALPHABET = st.sampled_from("abz019ABZ._-/#:@+=,~^?*[\\ $;&|`'\"(){}<>!%\n\0éß").map(str)
TEXT = st.text(ALPHABET, max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gh:psf/black", Slug("gh", "psf/black")),
        ("gh:psf/black#24.1.0", Slug("gh", "psf/black", "24.1.0")),
        ("gh:psf/black#feature/x", Slug("gh", "psf/black", "feature/x")),
        ("gh:psf/black#refs/pull/7/head", Slug("gh", "psf/black", "refs/pull/7/head")),
        ("gh:o/.github", Slug("gh", "o/.github")),
        ("gh:o/r.js", Slug("gh", "o/r.js")),
        ("gl:group/repo", Slug("gl", "group/repo")),
        ("gl:group/sub/deeper/repo#v1", Slug("gl", "group/sub/deeper/repo", "v1")),
        (
            "bb:team/repo#" + "0123456789abcdef" * 2 + "01234567",
            Slug("bb", "team/repo", "0123456789abcdef" * 2 + "01234567"),
        ),
        ("dir:.", Slug("dir", ".")),
        ("dir:../app", Slug("dir", "../app")),
        ("dir:/srv/my app/", Slug("dir", "/srv/my app")),
        ("dir:~/app", Slug("dir", "~/app")),
    ],
)
def test_a_slug_is_parsed_and_spelled_again_the_same(text: str, expected: Slug) -> None:
    slug = parse(text)
    assert slug == expected
    assert str(slug) == text.rstrip("/")
    assert parse(str(slug)) == slug


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "gh:",
        "gh:owner",
        "gh:owner/",
        "gh:/repo",
        "gh:owner//repo",
        "gh:a/b/c",
        "gl:group",
        "bb:a/b/c",
        "gh:owner/repo#",
        "-gh:owner/repo",
        "gh:-owner/repo",
        "gh:owner/-repo",
        "gh:owner/..",
        "gh:../repo",
        "gh:owner/a..b",
        "gh:./repo",
        "gh:owner/repo.git",
        "gh:owner/repo.lock",
        "gh:owner/repo.",
        "gh:owner/re po",
        "gh:owner/re;po",
        "gh:owner/$(touch x)",
        "gh:owner/`id`",
        "gh:owner/repo\n",
        "gh:owner/repo\0",
        "gh:öwner/repo",
        "gh:owner/" + "x" * 101,
        "gh:o/r#" + "x" * 500,
        "dir:",
        "dir: ",
        "dir:-x",
        "dir:a;b",
        "dir:a$b",
        "dir:a\nb",
        "dir:`id`",
        "dir:app#v1",
        "gitlab:a/b",
        "xx:a/b",
        "GH:a/b",
        "owner/repo",
        "./app",
    ],
)
def test_what_is_no_slug_is_refused_as_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.code in ("bad_slug", "bad_ref", "unknown_host")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("github:psf/black", "gh:psf/black"),
        ("gitlab:a/b/c#v1", "gl:a/b/c#v1"),
        ("GH:psf/black", "gh:psf/black"),
        ("file:../app", "dir:../app"),
        ("psf/black", "gh:psf/black"),
        ("./app", "dir:./app"),
        ("https://github.com/psf/black", "write gh:psf/black"),
        ("https://github.com/psf/black.git", "write gh:psf/black"),
        ("https://github.com/psf/black/tree/24.1.0", "write gh:psf/black#24.1.0"),
        ("https://gitlab.com/a/b/c/-/tree/main", "write gl:a/b/c#main"),
        ("https://www.bitbucket.org/a/b/src/main/", "write bb:a/b#main"),
        ("git@github.com:psf/black.git", "write gh:psf/black"),
        ("ssh://git@gitlab.com/a/b.git", "write gl:a/b"),
        ("https://git.example.org/a/b", "KARST_GH_URL"),
        ("gh:psf/black.git", "gh:psf/black"),
        ("dir:app#v1", "leave the #ref away"),
        ("xx:a/b", "gh: (github.com)"),
    ],
)
def test_the_hint_says_what_was_probably_meant(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert hint in caught.value.hint


def test_a_pasted_url_with_a_password_does_not_show_the_password() -> None:
    with pytest.raises(UsageError) as caught:
        parse("https://user:hunter2@github.com/o/r")
    assert "hunter2" not in str(caught.value)
    assert "gh:o/r" in caught.value.hint


@pytest.mark.parametrize(
    "ref",
    [
        "-x",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?b",
        "a*",
        "a[b",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        "a.",
        ".a",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "@{u}",
        "a@{1}",
        "@",
        "",
        "a\x7f",
        "$(x)",
        "a;b",
        "a|b",
        "a&b",
        "a'b",
        'a"b',
        "a`b",
        "a\tb",
    ],
)
def test_refs_that_git_or_a_shell_would_misread_are_refused(ref: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_ref(ref, "gh:o/r")
    assert caught.value.code == "bad_ref"


@given(TEXT)
@example("a /")
@settings(deadline=None, max_examples=400)
def test_any_text_is_a_slug_that_round_trips_or_a_usage_error(text: str) -> None:
    for prefix in ("", "gh:", "gh:o/r#", "gl:a/", "dir:", "https://"):
        try:
            slug = parse(prefix + text)
        except UsageError:
            continue
        assert parse(str(slug)) == slug
        assert not set(str(slug)) & set("$;&|`'\"<>\\\n\0*?{}!")
        assert slug.is_local or ".." not in slug.path
        assert not slug.path.startswith("-")


@given(st.text(ALPHABET, min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_every_accepted_ref_is_one_for_git_check_ref_format(ref: str) -> None:
    try:
        check_ref(ref, "gh:o/r")
    except UsageError:
        return
    checked = subprocess.run(["git", "check-ref-format", "--allow-onelevel", ref], timeout=10)
    assert checked.returncode == 0, ref
