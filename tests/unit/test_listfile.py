"""Reading list files: strict YAML, strict JSON, and Terraform's variables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karst.errors import UsageError
from karst.listfile import parse_json, parse_yaml, read_list
from karst.tfvars import parse_tfvars

WORDS = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=8)


@pytest.mark.parametrize(
    "scalar",
    [
        "y",
        "N",
        "yes",
        "No",
        "on",
        "OFF",
        "010",
        "1_000",
        "0o17",
        "0x1F",
        "0b1",
        "12:30",
        "1:2:3.5",
        "1e3",
        "-1E+5",
        ".inf",
        "2024-01-01",
        "2024-1-1",
        "1.",
        "99999999999999999999",
        "+.nan",
    ],
)
def test_a_word_that_yaml_readers_disagree_on_must_be_quoted(scalar: str) -> None:
    for text in (f"- a\n- {scalar}\n", f"- a\n- {{{scalar}: b}}\n"):
        with pytest.raises(UsageError) as caught:
            parse_yaml(text, "repos.yaml")
        assert caught.value.message.startswith(f"repos.yaml, line 2: `{scalar}` means different things")
    assert parse_yaml(f'- "{scalar}"\n', "x") == [scalar]


def test_plain_scalars_mean_what_everybody_expects() -> None:
    text = "[true, False, null, ~, 0, -7, 12, 0.5, -1.25, a, n-1, on-call, v1.0, 1.2.3, 256m, 3.12-slim, =, .5]"
    expected = [True, False, None, None, 0, -7, 12, 0.5, -1.25]
    assert parse_yaml(text, "x") == [*expected, "a", "n-1", "on-call", "v1.0", "1.2.3", "256m", "3.12-slim", "=", 0.5]


def test_a_number_that_would_lose_its_zero_is_refused_where_text_is_wanted(tmp_path: Path) -> None:
    from karst.manifest import load_file

    path = tmp_path / "repos.yaml"
    path.write_text("- slug: gh:o/app\n  env: {VERSION: 1.10}\n")
    with pytest.raises(UsageError, match="would lose its zero"):
        load_file(path)
    path.write_text("- slug: gh:o/app\n  cpus: 1.0\n")
    assert load_file(path)[0].cpus == 1.0


def test_a_key_that_is_there_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(UsageError, match=r"line 2: `slug` is there twice \(first in line 1\)"):
        parse_yaml("- slug: gh:o/a\n  slug: gh:o/b\n", "repos.yaml")
    with pytest.raises(UsageError, match="`slug` is there twice"):
        parse_json('[{"slug": 1, "slug": 2}]', "repos.json")


def test_anchors_and_merge_keys_work() -> None:
    text = '- &base {slug: "gh:o/a", env: {X: "1"}}\n- {<<: *base, slug: "gh:o/b"}\n'
    assert parse_yaml(text, "x")[1] == {"slug": "gh:o/b", "env": {"X": "1"}}


def test_an_alias_bomb_and_an_alias_of_itself_are_refused() -> None:
    levels = "\n".join(f"- &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" if n else "- &l0 [x]" for n in range(9))
    with pytest.raises(UsageError, match="more than 100000 values"):
        parse_yaml(levels, "x")
    with pytest.raises(UsageError, match="contains itself"):
        parse_yaml("- &a [*a]", "x")


@pytest.mark.parametrize(
    "text",
    [
        "- a: [",
        "\t- a",
        "- !!python/object/apply:os.system [ls]",
        "- !x y",
        "--- a\n--- b",
        pytest.param("- " * 3000, id="nested deeply"),
        "- *nope",
        "\x01",
        "%YAML 9",
        "- !!timestamp x",
        "- {[a]: b}",
        "- !!binary x",
        "- !!int x",
        "? {a: b}\n: c",
        "- !!float x",
        "- !!bool x",
        "!!set {a}: b",
    ],
)
def test_what_is_no_plain_yaml_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "repos.yaml")
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("repos.yaml")


@given(st.text(st.sampled_from("ab01:-[]{}&*!|>'\"#,?% \n\t.~<=on\\ué"), max_size=60))
@settings(deadline=None, max_examples=400)
def test_any_text_is_a_value_or_one_error(text: str) -> None:
    for parser in (parse_yaml, parse_json, parse_tfvars):
        try:
            parser(text, "x")
        except UsageError:
            continue


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**17), 10**17) | WORDS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=10,
    )
)
@settings(deadline=None, max_examples=200)
def test_json_is_read_alike_by_both_parsers(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_json(text, "x") == value
    assert parse_yaml(text, "x") == value


def test_a_list_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no list at"):
        read_list(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match="is a folder"):
        read_list(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"- gh:o/caf\xe9\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_list(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_list(large)


def test_a_byte_order_mark_is_no_part_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf- gh:o/app\n")
    assert read_list(path) == ["gh:o/app"]


@pytest.mark.parametrize("line", ["- gh:o/app #main", "  slug: gl:g/app   #v1.0 ", "- slug: bb:o/app #x"])
def test_a_ref_after_a_space_is_not_taken_for_a_comment_in_silence(tmp_path: Path, line: str) -> None:
    path = tmp_path / "repos.yaml"
    path.write_text(f"- slug: gh:o/first\n{line}\n")
    with pytest.raises(UsageError) as caught:
        read_list(path)
    assert "line 2" in caught.value.message
    assert "app#" in caught.value.hint


def test_comments_stay_comments(tmp_path: Path) -> None:
    path = tmp_path / "repos.yaml"
    path.write_text("# a list\n- gh:o/app # main\n- gh:o/two#v1 # the second\n- gh:o/three #two words\n#- gh:o/four\n")
    assert read_list(path) == ["gh:o/app", "gh:o/two#v1", "gh:o/three"]


def test_flow_yaml_that_looks_like_json_is_read_as_yaml(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("[gh:o/app, {slug: gh:o/b2}]\n")
    assert read_list(path) == ["gh:o/app", {"slug": "gh:o/b2"}]


def test_tfvars_strings_lose_their_quotes_and_escapes() -> None:
    text = (
        'a = "x\\"y\\\\z\\n\\t\\u00e9\\U0001F600"\nb = "$${not} %%{this}"\nc = { "k-1" = "v", k2 = null }\n'
        'd = [1, -2, 0.5, true]\ne = <<EOT\nline "one"\nEOT\nf = 1e3\n# comment\n'
    )
    assert parse_tfvars(text, "x") == {
        "a": 'x"y\\z\n\té😀',
        "b": "${not} %{this}",
        "c": {"k-1": "v", "k2": None},
        "d": [1, -2, 0.5, True],
        "e": 'line "one"',
        "f": 1000.0,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = var.x", "an expression"),
        ('a = "x${b}"', "a string holds"),
        ('a = "%{ if x }y%{ endif }"', "a string holds"),
        ("a = [for x in [1]: x]", "an expression"),
        ("a = ", "not a tfvars file"),
        ("a = [1,\nb", "not a tfvars file"),
    ],
)
def test_what_no_tfvars_file_may_hold_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_tfvars(text, "my.tfvars")
