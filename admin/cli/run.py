"""One run that changes a stack: what it does, step by step, and what it raises when something went wrong."""

from __future__ import annotations

import functools
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from admin.cli import probing, records, sweeping, unbuilt
from admin.cli.fastpath import FastPath
from admin.cli.holding import Holding
from karst import containers, discovery, limits, manifest, plans, preflight, removal, review, settled, state
from karst.deployed import recorded
from karst.errors import BusyError, Exit, KarstError, UnhealthyError, UsageError
from karst.events import Events
from karst.files import write_atomic
from karst.stack import Stack
from karst.terraform import Outcome, Terraform, variables_file

if TYPE_CHECKING:
    from karst.containers import Member
    from karst.probe import Health


class Run:
    """One run that holds the stack's lock."""

    def __init__(
        self, stack: Stack, events: Events, verb: str, *, hold: bool = True, refresh: bool = False, wait: float = 0
    ) -> None:
        self.stack = stack
        self.wait = wait
        self.events = events
        self.verb = verb
        self.answers: list[Health] = []
        self.holding = Holding(stack, events, on=hold)
        self.record = records.Record(stack, verb)
        self.fast = FastPath(self, on=not refresh)
        self.digest = ""
        # The digest of the only plan that may be applied, also when it is planned again.
        self.approved: str | None = None

    @functools.cached_property
    def terraform(self) -> Terraform:
        """Looked for when it is needed: a wrong list or a missing engine is told first."""
        return Terraform(self.stack, self.events, wait=self.wait)

    def plan_and_apply(self) -> int:
        members = self.fast.members()
        if members is not None:
            self._drop_plan()
            self._probe(members=members)
            return self._verdict()
        plan = self.plan()
        if self.approved is not None and self.digest != self.approved:
            self._drop_plan()
            raise UsageError(
                f"the plan has the digest {self.digest}, and {self.approved[:64]} was approved; nothing was changed",
                hint="look at the plan (`iac plan --markdown`), and approve that one",
                code="other_plan",
            )
        self.fast.planned()
        if not plans.changes(plan):
            self._drop_plan()
            self.record.applied(plan, Outcome(0))
            sweeping.after_apply(self.stack, self.events)
            self._probe()
            return self._verdict(plan)
        return self._apply(plan)

    def apply_saved(self, *, named: bool) -> int:
        if not self.stack.plan_file.exists():
            return self.plan_and_apply()
        saved = json.loads(self._plan_notes.read_text())
        if named and saved.get("list_file") != str(self.stack.list_file):
            raise UsageError(
                f"the saved plan is for {saved.get('list_file')}, not for {self.stack.list_file}",
                hint="plan again with `make plan SLUGS=…` (or `iac plan --file …`), or use `iac deploy`",
                code="other_plan",
            )
        if saved.get("kit", "") != settled.kit_hash():
            raise UsageError(
                "the kit's own files have changed since the plan was saved, so it cannot be applied as it was shown",
                hint="plan again with `iac plan`, or use `iac deploy`",
                code="other_kit",
            )
        preflight.check(self.stack)
        self.terraform.init()
        self.holding.recall(saved.get("held", {}))
        return self._apply(self.terraform.show_plan())

    def plan(self) -> dict[str, Any]:
        """Check the list and the host, then plan; return the plan as Terraform's JSON."""
        listed = manifest.load_file(self.stack.list_file)
        preflight.check(self.stack, services=sum(service.replicas for service in listed))
        self.holding.carry_rollbacks()
        variables_file(self.stack)
        self.holding.pin_rollbacks()
        with self.events.phase("init"):
            self.terraform.init()
        with self.events.phase("plan"):
            self._plan_with_holds()
        plan = self.terraform.show_plan()
        services = self.holding.explain(plans.summarize(plan))
        self.digest = review.digest(self.stack.name, services, plan)
        for sentence in plans.lacking(plan):
            self.events.emit("diagnostic", severity="warning", message=sentence, hint="")
        notes = {
            "list_file": str(self.stack.list_file),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "held": self.holding.notes(),
            "kit": settled.kit_hash(),
        }
        write_atomic(self._plan_notes, json.dumps(notes), mode=0o600)
        self.events.emit("plan", services=services, changes=sum(e["action"] != "none" for e in services.values()))
        return plan

    def _plan_with_holds(self) -> None:
        """Plan; when services cannot be fetched, understood or rendered, hold them and plan again."""
        changed = self._changed_by_hand() if self.fast.refresh else []
        while True:
            variables_file(self.stack, self.holding.file())
            outcome = self.terraform.plan(quiet=True, refresh=self.fast.refresh, replace=changed)
            if outcome.exit_code in (0, 2) and not outcome.interrupted:
                return
            self._check_lock(outcome)
            if outcome.interrupted or not self.holding.take(self.holding.reported()):
                for told in outcome.untold:
                    self.events.emit("diagnostic", **told)
                self._failed(outcome, "the plan failed, and nothing was changed")

    def _changed_by_hand(self) -> list[str]:
        """What a refresh does not see (karst.limits), by Terraform's addresses."""
        record = recorded(self.stack)
        if not record:
            return []
        with containers.engine() as docker:
            return limits.to_replace(record, containers.details(docker, [one.id for one in record]))

    def destroy(self, *, keep_images: bool) -> int:
        if not state.exists(self.stack):
            with self.events.phase("leftovers"):
                sweeping.without_state(self.stack, self.events, images=not keep_images)
            return int(Exit.OK)
        variables_file(self.stack)
        with self.events.phase("init"):
            self.terraform.init()
        with self.events.phase("destroy"):
            outcome = removal.remove(self.terraform, state.pull(self.stack))
            self._check_lock(outcome)
            self._drop_plan()
            if not outcome.ok:
                self._failed(outcome, "the destroy did not finish; run it again")
        discovery.remove(self.stack)
        self.record.removed()
        with self.events.phase("leftovers"):
            sweeping.by_label(self.stack, images=not keep_images)
            shutil.rmtree(self.stack.log_dir, ignore_errors=True)
        return int(Exit.OK)

    def _apply(self, plan: dict[str, Any]) -> int:
        settled.forget(self.stack)
        sweeping.before_apply(self.stack, self.events)
        with self.events.phase("apply"):
            sweeping.keep_logs(self.stack, plan)
            outcome = self.terraform.apply(plans.retained(plan))
            self._check_lock(outcome)
            # A plan can be applied once: what is left of it would only be called stale.
            self._drop_plan()
        if outcome.stale and self.wait and self.verb == "deploy":
            self.events.emit("log", line="somebody else deployed meanwhile: planning again")
            return self.plan_and_apply()
        if outcome.stale:
            raise BusyError(
                f"somebody else changed stack `{self.stack.name}` after this plan was made; nothing was done",
                hint="plan again; `iac deploy --lock-wait SECONDS` does so by itself",
                code="busy",
            )
        if outcome.interrupted:
            self._failed(outcome, "interrupted; the state is saved, and the next deploy goes on from here")
        why = unbuilt.explain(outcome, plan, self.events)
        if self.holding.take(why):
            # No pod has been touched: all of them wait for all of the images.
            return self.plan_and_apply()
        self.record.applied(plan, outcome)
        if outcome.ok:
            sweeping.after_apply(self.stack, self.events)
        self._probe(patience=10 if outcome.ok else 0)
        if not outcome.ok:
            gates = [text for text in outcome.errors if "is not healthy" in text]
            if gates and len(gates) == len(outcome.errors):
                raise _told(UnhealthyError("\n".join(gates), code="unhealthy"))
            self._failed(outcome, "the apply failed")
        return self._verdict(plan)

    def _verdict(self, plan: dict[str, Any] | None = None) -> int:
        """Exit code or error of a deploy; ``plan`` is what it went by, None for one that did not have to plan."""
        unhealthy = [answer.service for answer in self.answers if not answer.whole]
        if unhealthy:
            raise UnhealthyError(f"not healthy: {', '.join(unhealthy)}", hint="see `iac logs`", code="unhealthy")
        if error := self.holding.error():
            raise _told(error)
        if plan is not None:
            self.fast.settle(plan)
        return int(Exit.OK)

    def _probe(self, patience: float = 10, members: list[Member] | None = None) -> None:
        self.answers = probing.ask_all(self.stack, self.events, patience, members)
        if members is None:
            discovery.write(self.stack)

    def failure(self, error: KarstError) -> KarstError:
        """The error that the run ends with, with a sentence for each held service."""
        return error if error.code == "held" else self.holding.error(error) or error

    def _check_lock(self, outcome: Outcome) -> None:
        """A state that is kept elsewhere may be held from another machine; who that is, its lock does not tell."""
        if outcome.locked:
            raise BusyError(
                f"stack `{self.stack.name}` is busy: somebody holds its state ({self.stack.backend})",
                hint="wait for it (--lock-wait SECONDS); `iac status` where they work says who",
                code="busy",
            )

    def _failed(self, outcome: Outcome, message: str) -> None:
        if outcome.interrupted:
            raise KarstError(message, code="interrupted", exit_code=Exit.INTERRUPTED)
        error = KarstError("\n".join(outcome.errors) or message, code="terraform_failed")
        raise _told(error) if outcome.errors else error

    def _drop_plan(self) -> None:
        self.stack.plan_file.unlink(missing_ok=True)
        self._plan_notes.unlink(missing_ok=True)

    @property
    def _plan_notes(self) -> Any:
        return self.stack.plan_file.with_suffix(".json")


def _told(error: KarstError) -> KarstError:
    """Mark an error whose text the event stream has already told."""
    error.told = True  # type: ignore[attr-defined]
    return error
