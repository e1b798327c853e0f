"""A deploy of an approved plan applies that plan or none, also when it has to plan again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from admin.cli import sweeping
from admin.cli.run import Run
from karst import plans
from karst.errors import UsageError
from karst.events import Events
from karst.stack import resolve
from karst.terraform import Outcome

APPROVED, OTHER = "a" * 16, "b" * 16


class FakeTerraform:
    """Stands for Terraform, whose state somebody on another machine has changed since the plan."""

    def __init__(self) -> None:
        self.applied = 0

    def apply(self, *_: Any) -> Outcome:
        self.applied += 1
        return Outcome(1, errors=["Saved plan is stale"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose first plan is the approved one, and whose second is another."""
    monkeypatch.setenv("KARST_STATE_DIR", str(tmp_path))
    run = Run(resolve(name="approved"), Events(), "deploy", refresh=True, wait=5)
    digests = iter([APPROVED, OTHER])

    def plan() -> dict[str, Any]:
        run.digest = next(digests)
        return {}

    run.terraform = FakeTerraform()  # type: ignore[assignment]
    for name, stub in {"plan": plan, "_drop_plan": lambda: None}.items():
        monkeypatch.setattr(run, name, stub)
    monkeypatch.setattr(plans, "changes", lambda plan: True)
    monkeypatch.setattr(plans, "retained", lambda plan: {})
    for name in ("before_apply", "keep_logs"):
        monkeypatch.setattr(sweeping, name, lambda stack, _: None)
    return run


def test_what_is_planned_again_must_be_what_was_approved(run: Run) -> None:
    run.approved = APPROVED
    with pytest.raises(UsageError, match=f"the plan has the digest {OTHER}"):
        run.plan_and_apply()
    assert run.terraform.applied == 1  # type: ignore[attr-defined]


def test_without_an_approval_whatever_is_planned_again_is_applied(run: Run) -> None:
    with pytest.raises(StopIteration):  # the fixture has no third plan
        run.plan_and_apply()
    assert run.terraform.applied == 2  # type: ignore[attr-defined]
