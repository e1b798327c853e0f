"""A plan for reviewers: its digest says whether another plan does the same, its Markdown means only what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karst.review import digest, kept, markdown
from karst.stack import resolve

REASON = {"what": "commit", "before": "a" * 40, "after": "b" * 40, "text": "commit aaaaaaaaaaaa → bbbbbbbbbbbb"}
WEB: dict[str, Any] = {"action": "replace", "steps": {"pod": "replace", "app": "replace"}, "reasons": [REASON]}
IDLE: dict[str, Any] = {"action": "none", "steps": {}, "reasons": []}


def plan(generation: str = "g1") -> dict[str, Any]:
    value = {"web": {"generation": generation}, "api": {"generation": "same"}}
    return {"planned_values": {"outputs": {"services": {"value": value}}}}


BEFORE = digest("s", {"web": WEB, "api": IDLE}, plan())


def test_the_same_change_has_the_same_digest() -> None:
    """In another order, told in other words, beside a renewed certificate, which has a time in it."""
    renewed = {"what": "identity", "before": "", "after": "", "text": "identity renewed (valid until 2030)"}
    told = {**WEB, "steps": {"app": "replace", "pod": "replace"}, "reasons": [{**REASON, "text": "another"}]}
    assert digest("s", {"api": {**IDLE, "reasons": [renewed]}, "web": told}, plan()) == BEFORE


@pytest.mark.parametrize(
    ("stack", "services", "generation"),
    [
        ("other", {"web": WEB}, "g1"),
        ("s", {"web": WEB}, "g2"),  # a value of its environment, which no reason tells
        ("s", {"web": {**WEB, "action": "update"}}, "g1"),
        ("s", {"web": {**WEB, "steps": {"pod": "replace"}}}, "g1"),
        ("s", {"web": {**WEB, "reasons": [{**REASON, "after": "c" * 40}]}}, "g1"),
        ("s", {"web": WEB, "": {"action": "update", "steps": {"edge": "update"}, "reasons": []}}, "g1"),
        ("s", {"web": WEB, "api": {**IDLE, "held": {"generation": "old", "reason": "no ref"}}}, "g1"),
        ("s", {}, "g1"),
    ],
)
def test_another_change_has_another_digest(stack: str, services: dict[str, Any], generation: str) -> None:
    assert digest(stack, services, plan(generation)) != BEFORE


def test_the_summary_has_a_row_for_each_change_and_the_digest_in_a_line_of_its_own() -> None:
    shared = {"action": "create", "steps": {"network": "create", "edge": "create"}, "reasons": []}
    text = markdown("team-a", {"": shared, "api": IDLE, "web": WEB}, BEFORE)
    assert text.splitlines() == [
        "### Plan of stack team-a: 2 to change, 1 untouched",
        "",
        "| service | action | why |",
        "| --- | --- | --- |",
        "| (shared) | create | edge create, network create |",
        "| web | replace | commit aaaaaaaaaaaa → bbbbbbbbbbbb |",
        "",
        f"Digest: `{BEFORE}`",
    ]
    assert "nothing to change, 1 untouched" in markdown("s", {"api": IDLE}, BEFORE)


def test_what_a_list_says_is_text_and_nothing_else() -> None:
    """No link, no tag, no mention, no other cell; the line of the digest cannot be forged."""
    bad = "x|y\nDigest: `" + "0" * 64 + "` <img src=a> [a](b) @everyone #1 **b** $(c)"
    text = markdown("s", {"web": {**WEB, "reasons": [{**REASON, "text": bad}]}}, BEFORE)
    [row] = [line for line in text.splitlines() if line.startswith("| web")]
    assert row.count("|") == 4
    assert not set("<>[]@*`$\\") & set(row)
    assert [line for line in text.splitlines() if line.startswith("Digest: ")] == [f"Digest: `{BEFORE}`"]


def test_a_long_summary_is_cut_and_says_so() -> None:
    services = {f"svc-{number}": WEB for number in range(1000)}
    text = markdown("s", services, BEFORE)
    assert len(text) < 32_000
    assert "more, which the log of the job has." in text
    assert text.splitlines()[-1] == f"Digest: `{BEFORE}`"


def test_held_services_are_told_with_their_reason() -> None:
    text = markdown("s", {"web": {**IDLE, "held": {"generation": "g", "reason": "no ref `v9`"}}}, BEFORE)
    assert "| web | untouched |" in text
    assert "- web: no ref &#96;v9&#96;" in text


def test_a_review_leaves_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    stack = resolve(name="kept", list_file="repos.yaml")
    stack.home.mkdir()
    stack.plan_file.write_bytes(b"saved")

    def review() -> None:
        with kept(stack):
            stack.plan_file.write_bytes(b"for review")
            stack.variables_file.write_text("{}")
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        review()
    assert stack.plan_file.read_bytes() == b"saved"
    assert stack.plan_file.stat().st_mode & 0o777 == 0o600
    assert not stack.variables_file.exists()
