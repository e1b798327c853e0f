"""The deploy that has nothing to do: seen from hashes and one call to the engine, without asking Terraform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from karst import settled

if TYPE_CHECKING:
    from admin.cli.run import Run
    from karst.containers import Member


class FastPath:
    """One run's knowledge of what the last deploy left. ``on`` is False for --refresh, which always plans."""

    def __init__(self, run: Run, *, on: bool) -> None:
        self._run = run
        self._on = on
        self._inputs: settled.Inputs | None = None
        self.refresh = True  # whether a plan has to read every container again

    def members(self) -> list[Member] | None:
        """The stack's containers, newest first, when a deploy would change nothing; None when it has to plan."""
        run = self._run
        found = settled.unchanged(run.stack) if self._on else None
        if found is None:
            self._inputs = settled.Inputs.take(run.stack)
            self.refresh = not (self._on and settled.as_left(run.stack))
            return None
        names, members = found
        run.holding.tell_rollbacks()
        nothing: dict[str, Any] = {"action": "none", "steps": {}, "reasons": []}
        run.events.emit("plan", services=dict.fromkeys(names, nothing), changes=0, unchanged=True)
        run.record.outcomes.update(dict.fromkeys(names, "unchanged"))
        return sorted(members, key=lambda one: (-one.created, one.name))

    def planned(self) -> None:
        """After the plan, before the apply."""
        if self._inputs is not None:
            self._inputs.planned()

    def settle(self, plan: dict[str, Any]) -> None:
        """After a deploy that succeeded as a whole: the next one may be compared with it."""
        outputs = plan.get("planned_values", {}).get("outputs", {})
        services = outputs.get("services", {}).get("value") or {}
        if self._inputs is not None:
            self._inputs.record({name: one["revision"] for name, one in services.items()})
