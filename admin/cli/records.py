"""What a run leaves in the services' histories, and what it says of each service at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from admin.cli.holding import Held
from karst import generations, plans
from karst.generations import FAILED, OK, REMOVED, Generation
from karst.stack import Stack
from karst.terraform import Outcome


class Record:
    """Writes the histories of one stack on behalf of one run."""

    def __init__(self, stack: Stack, run: str) -> None:
        self.folder = stack.history_dir
        self.run = run
        self.outcomes: dict[str, str] = {}

    def applied(self, plan: dict[str, Any], outcome: Outcome) -> None:
        """After an apply, or a plan with nothing to do: add each generation that is new to its service's history."""
        summary = plans.summarize(plan)
        for name, made in generations.from_plan(plan, run=self.run).items():
            entry = summary.get(name, {"action": "none", "steps": {}})
            passed = "gate" not in entry["steps"] or name in outcome.passed
            self.outcomes[name] = ("unchanged" if entry["action"] == "none" else "deployed") if passed else "failed"
            if passed:
                self._add_good(made)
            elif name in outcome.refused:
                self._add_failed(made)
        if outcome.ok:
            for name, entry in summary.items():
                if name and entry["action"] == "destroy":
                    self._remove(name)

    def removed(self) -> None:
        """After a destroy: no service has anything left to be held at."""
        for name in generations.services(self.folder):
            self._remove(name)

    def _add_good(self, made: Generation) -> None:
        history = generations.read(self.folder, made.service)
        last = history[-1] if history else None
        if last is None or last.outcome != OK or (last.generation, last.content) != (made.generation, made.content):
            generations.append(self.folder, made)

    def _add_failed(self, made: Generation) -> None:
        history = generations.read(self.folder, made.service)
        if not history or (history[-1].outcome, history[-1].generation) != (FAILED, made.generation):
            generations.append(self.folder, replace(made, outcome=FAILED))

    def _remove(self, name: str) -> None:
        if generations.last_good(generations.read(self.folder, name)) is not None:
            line = Generation(name, generations.now(), REMOVED, run=self.run, by=generations.user())
            generations.append(self.folder, line)

    def rows(self, answers: list[dict[str, Any]], held: Mapping[str, Held]) -> list[dict[str, Any]]:
        """Health answers with ``outcome``: deployed, unchanged, held, left_out, failed; "" when nothing was applied."""
        words = self.outcomes | {name: "held" if one.revision else "left_out" for name, one in held.items()}
        rows = [{**row, "outcome": words.get(row["service"], "")} for row in answers]
        for name, one in held.items():
            if name not in {row["service"] for row in rows}:
                rows.append({"service": name, "status": "UNKNOWN", "revision": one.revision, "outcome": words[name]})
        for row in rows:
            if row["service"] in held:
                row["reason"] = held[row["service"]].reason.splitlines()[0]
        return rows
