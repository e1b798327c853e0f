"""The tables of docs/detection.md when some sources cannot be had."""

from __future__ import annotations

from tests.corpus import tables
from tests.corpus.score import Case, Result

ONE = Case("gh:a/one@1", ("file main.py", "app main:app"), "")
TWO = Case("pypi:two==1", ("refuse library",), "")
THREE = Case("gh:c/three@1", ("file x.py",), "")


def document(answers: dict[str, list[Result]]) -> str:
    return tables.written(f"# Head\n{tables.BEGIN}\n{tables.END}\ntail\n", answers)[0]


def test_a_source_that_cannot_be_had_keeps_the_row_of_an_earlier_run() -> None:
    whole = document({"s": [Result(ONE, "right", "app main:app"), Result(TWO, "wrong", "script two")]})
    text, kept = tables.written(whole, {"s": [Result(ONE, "skipped", ""), Result(TWO, "right", "refuse library")]})
    assert kept == 1
    assert "| a/one | `file main.py` / `app main:app` | `app main:app` | right |" in text
    assert "| two==1 | `refuse library` | `refuse library` | right |" in text
    assert "### s: 2 of 2 right, 0 refused, 0 silently wrong\n" in text


def test_a_row_whose_expectation_changed_is_not_kept() -> None:
    old = Case(ONE.source, ("file other.py",), "")
    text, kept = tables.written(
        document({"s": [Result(old, "right", "file other.py")]}), {"s": [Result(ONE, "skipped", "")]}
    )
    assert kept == 0
    assert "### s: 0 of 0 right, 0 refused, 0 silently wrong, 1 skipped\n" in text


def test_a_set_that_was_not_asked_keeps_its_table_and_the_text_around_stays() -> None:
    both = document({"s": [Result(ONE, "right", "file main.py")], "t": [Result(TWO, "right", "refuse library")]})
    text, _ = tables.written(
        both, {"t": [Result(TWO, "refused", "refuse ambiguous")], "u": [Result(THREE, "skipped", "")]}
    )
    assert text.startswith("# Head\n")
    assert text.endswith("\ntail\n")
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        "### s: 1 of 1 right, 0 refused, 0 silently wrong",
        "### t: 0 of 1 right, 1 refused, 0 silently wrong",
        "### u: 0 of 0 right, 0 refused, 0 silently wrong, 1 skipped",
    ]


def test_writing_twice_changes_nothing() -> None:
    answers = {"s": [Result(ONE, "right", "file main.py")], "t": [Result(TWO, "right", "refuse library")]}
    once = document(answers)
    assert tables.written(once, answers)[0] == once
