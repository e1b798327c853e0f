"""The protocol of Terraform's external data source, every error path."""

from __future__ import annotations

import io
import json

import pytest

from karst.errors import Exit, KarstError
from karst.external import json_field, read_query, serve


def _serve(monkeypatch: pytest.MonkeyPatch, text: str, handler: object = dict) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return serve(handler)  # type: ignore[arg-type]


def test_the_answer_is_one_object_of_strings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the handler returns is printed as JSON."""
    assert _serve(monkeypatch, '{"a": "1"}', lambda query: {"b": query["a"]}) == 0
    assert json.loads(capsys.readouterr().out) == {"b": "1"}


@pytest.mark.parametrize("text", ["[", "[]", '"x"', '{"a": 1}', '{"a": null}'])
def test_a_query_that_is_no_object_of_strings_is_a_usage_error(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence on stderr, nothing on stdout."""
    assert _serve(monkeypatch, text) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "stdin" in err


def test_an_error_is_its_sentence_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terraform shows stderr to the user as it is."""

    def fail(_query: dict[str, str]) -> dict[str, str]:
        raise KarstError("it broke at main.py:1", hint="mend it")

    assert _serve(monkeypatch, "{}", fail) == Exit.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "it broke at main.py:1\n  hint: mend it\n"


def test_a_result_that_is_no_string_is_a_fault_and_not_an_empty_string(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terraform would turn null into "" without a word."""
    assert _serve(monkeypatch, "{}", lambda _query: {"x": None}) == Exit.FAILED
    assert "`x` is NoneType" in capsys.readouterr().err


def test_a_fault_of_the_kit_is_a_sentence_with_its_place_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """KARST_DEBUG=1 is for those who mend it."""

    def fault(_query: dict[str, str]) -> dict[str, str]:
        raise RuntimeError("oops")

    monkeypatch.delenv("KARST_DEBUG", raising=False)
    assert _serve(monkeypatch, "{}", fault) == Exit.FAILED
    err = capsys.readouterr().err
    assert "test_external.py:" in err
    assert "RuntimeError: oops" in err
    assert "Traceback" not in err
    monkeypatch.setenv("KARST_DEBUG", "1")
    with pytest.raises(RuntimeError):
        _serve(monkeypatch, "{}", fault)


def test_an_empty_stdin_is_an_empty_query() -> None:
    """Older providers send nothing when there is no query."""
    assert read_query("") == {}


def test_a_field_that_is_no_json_is_named() -> None:
    """The sentence says which key of the query is meant."""
    with pytest.raises(KarstError, match="`services`"):
        json_field({"services": "{"}, "services")
    assert json_field({}, "services", []) == []
