"""What Terraform says, turned into words for a person, and how it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from karst.events import Events
from karst.stack import resolve
from karst.terraform import Outcome, Terraform, sentence, step

SAID = "shop: gh:acme/shop: there is no ref `v9`\n  hint: did you mean `v8`?"
MEANT = ("shop: gh:acme/shop: there is no ref `v9`", "did you mean `v8`?")


@pytest.mark.parametrize(
    ("summary", "detail"),
    [
        # hashicorp/external 1.2.0 as it was seen, 2.x as its source words it
        (f'failed to execute "/kit/scripts/fetch": {SAID}\n', ""),
        (
            "External Program Execution Failed",
            "The data source received an unexpected error while attempting to execute the\nprogram.\n\n"
            f"Program: /kit/scripts/fetch\nError Message: {SAID}\n\nState: exit status 1",
        ),
        # a local-exec provisioner
        (
            "local-exec provisioner error",
            f"Error running command 'exec \"$KARST_GATE\"': exit status 5. Output: {SAID}\n",
        ),
    ],
)
def test_a_helpers_sentence_is_shown_without_its_wrapping(summary: str, detail: str) -> None:
    """The message and the hint, as the helper wrote them."""
    assert sentence(summary, detail) == MEANT


@pytest.mark.parametrize("what", ["Resource precondition failed", "Module output value precondition failed"])
def test_a_modules_sentence_is_shown_alone(what: str) -> None:
    """It was written for the one who reads it."""
    assert sentence(what, "There is no CA bundle at /x.") == ("There is no CA bundle at /x.", "")


def test_terraforms_own_errors_keep_both_parts() -> None:
    """The summary alone often says too little."""
    assert sentence("Invalid value", "The stack must be …") == ("Invalid value: The stack must be …", "")


@pytest.mark.parametrize(
    ("address", "word"),
    [
        (("docker_image", "app", "shop"), "image"),
        (("docker_image", "infra", "runner"), "runner image"),
        (("docker_image", "edge", None), "edge image"),
        (("docker_network", "mesh", None), "network"),
        (("docker_container", "sidecar", "shop"), "sidecar"),
        (("terraform_data", "gate", "shop"), "gate"),
    ],
)
def test_each_resource_has_a_word_in_the_language_of_services(address: tuple[str, str, str | None], word: str) -> None:
    assert step(*address) == word


@pytest.mark.parametrize(
    ("summary", "detail", "locked", "stale"),
    [
        # Terraform 1.11 with the backend `pg`, as it was seen
        (
            "Error acquiring the state lock",
            "Error message: Already locked for workspace creation: default\nLock Info:\n  ID:        368826bf",
            True,
            False,
        ),
        (
            "Saved plan is stale",
            "The given plan file can no longer be applied because the state was changed by another operation",
            False,
            True,
        ),
        ("Invalid value", "The stack must be …", False, False),
    ],
)
def test_a_state_that_somebody_else_holds_or_changed_is_told_apart(
    summary: str, detail: str, locked: bool, stale: bool
) -> None:
    outcome = Outcome(1, errors=[sentence(summary, detail)[0]])
    assert (outcome.locked, outcome.stale) == (locked, stale)


def test_a_state_is_its_owners_alone_from_its_first_byte_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in notes the mode of what it makes. What a plan makes goes into images, and has its mode as ever."""
    program = tmp_path / "terraform"
    program.write_text('#!/bin/sh\ntouch "$NOTED/$2" && stat -c %a "$NOTED/$2" >"$NOTED/$2.mode"\n')
    program.chmod(0o755)
    monkeypatch.setenv("KARST_TERRAFORM", str(program))
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NOTED", str(tmp_path))
    stack = resolve(name="modes")
    stack.home.mkdir(parents=True)
    terraform = Terraform(stack, Events())
    assert terraform.plan().exit_code == terraform.apply().exit_code == 0
    modes = {verb: (tmp_path / f"{verb}.mode").read_text().strip() for verb in ("plan", "apply")}
    (tmp_path / "as usual").touch()
    assert modes == {"plan": f"{(tmp_path / 'as usual').stat().st_mode & 0o777:o}", "apply": "600"}
