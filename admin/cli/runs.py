"""Runs that change a stack: plan, apply, deploy, destroy. One at a time per stack."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admin.cli import output, records, sweeping
from admin.cli.fastpath import FastPath
from admin.cli.holding import Holding
from admin.cli.lock import end_orphans, exclusive
from admin.cli.status import note_run
from karst import containers, discovery, kept_logs, manifest, plans, preflight, review, settled, state
from karst.errors import BusyError, Exit, KarstError, UnhealthyError, UsageError
from karst.events import Events, ndjson
from karst.files import write_atomic
from karst.health import ask
from karst.stack import Stack
from karst.terraform import Outcome, Terraform, variables_file

if TYPE_CHECKING:
    from karst.containers import Member
    from karst.probe import Health


def deploy(
    stack: Stack,
    *,
    as_events: bool,
    as_json: bool = False,
    wait: float = 0,
    hold: bool = True,
    refresh: bool = False,
    approved: str | None = None,
) -> int:
    """Plan, apply and probe; return the exit code.

    ``wait``: seconds to wait for another run to end. ``hold``: a service that cannot be had stays as it was.
    ``refresh``: plan even when nothing seems to have changed. ``approved``: apply no plan but the one with this digest.
    """

    def body(run: Run) -> int:
        run.approved = approved
        return run.plan_and_apply()

    return _run(stack, "deploy", as_events, body, wait, hold, refresh, as_json)


def apply(
    stack: Stack,
    *,
    as_events: bool,
    as_json: bool = False,
    named: bool,
    wait: float = 0,
    hold: bool = True,
    refresh: bool = False,
) -> int:
    """Apply the saved plan and probe; plan first when none is saved. ``named``: the caller named the list."""
    return _run(stack, "apply", as_events, lambda run: run.apply_saved(named=named), wait, hold, refresh, as_json)


def plan(
    stack: Stack,
    *,
    as_json: bool = False,
    as_markdown: bool = False,
    as_events: bool = False,
    detailed: bool,
    wait: float = 0,
    hold: bool = True,
) -> int:
    """Plan, save it, and print it in the language of services."""
    found: dict[str, Any] = {}
    digest = ""

    def body(run: Run) -> int:
        nonlocal digest
        # A plan for review is often of a change that is not accepted yet: nothing of it may stay where an apply looks.
        with review.kept(stack) if as_markdown else contextlib.nullcontext():
            found.update(run.holding.explain(plans.summarize(run.plan())))
        digest = run.digest
        return int(Exit.OK)

    code = _run(stack, "plan", as_events, body, wait, hold)
    if code == Exit.OK and as_json and not as_events:
        told = {"stack": stack.name, "plan_file": str(stack.plan_file), "digest": digest, "services": found}
        output.print_json(told)
    elif code == Exit.OK and as_markdown:
        sys.stdout.write(review.markdown(stack.name, found, digest))
    changes = any(entry["action"] != "none" for entry in found.values())
    return 2 if code == Exit.OK and detailed and changes else code


def destroy(stack: Stack, *, as_events: bool, as_json: bool = False, keep_images: bool, wait: float = 0) -> int:
    """Remove what Terraform made, then the stack's images."""
    body = functools.partial(Run.destroy, keep_images=keep_images)
    return _run(stack, "destroy", as_events, body, wait, as_json=as_json)


def rollback(
    stack: Stack, service: str, to: str | None, *, as_events: bool, as_json: bool = False, wait: float = 0
) -> int:
    """Go back to an earlier generation of one service; return the exit code."""
    from admin.cli.rollback import roll_back

    return _run(stack, "rollback", as_events, lambda run: roll_back(run, service, to), wait, False, as_json=as_json)


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
        self.approved: str | None = (
            None  # the digest of the only plan that may be applied, also when it is planned again
        )

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
        with self._phase("init"):
            self.terraform.init()
        with self._phase("plan"):
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
        while True:
            variables_file(self.stack, self.holding.file())
            outcome = self.terraform.plan(quiet=True, refresh=self.fast.refresh)
            if outcome.exit_code in (0, 2) and not outcome.interrupted:
                return
            self._check_lock(outcome)
            if outcome.interrupted or not self.holding.take(self.holding.reported()):
                for told in outcome.untold:
                    self.events.emit("diagnostic", **told)
                self._failed(outcome, "the plan failed, and nothing was changed")

    def destroy(self, *, keep_images: bool) -> int:
        if not state.exists(self.stack):
            with self._phase("leftovers"):
                sweeping.without_state(self.stack, self.events, images=not keep_images)
            return int(Exit.OK)
        variables_file(self.stack)
        with self._phase("init"):
            self.terraform.init()
        with self._phase("destroy"):
            outcome = self.terraform.plan(destroy=True)
            if outcome.exit_code == 2:
                outcome = self.terraform.apply()
            self._check_lock(outcome)
            self._drop_plan()
            if not outcome.ok:
                self._failed(outcome, "the destroy did not finish; run it again")
        discovery.remove(self.stack)
        self.record.removed()
        with self._phase("leftovers"):
            sweeping.by_label(self.stack, images=not keep_images)
            shutil.rmtree(self.stack.log_dir, ignore_errors=True)
        return int(Exit.OK)

    def _apply(self, plan: dict[str, Any]) -> int:
        settled.forget(self.stack)
        sweeping.before_apply(self.stack, self.events)
        with self._phase("apply"):
            self._keep_logs(plan)
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
        unbuilt = self._explain_builds(outcome, plan)
        if self.holding.take(unbuilt):
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

    def _keep_logs(self, plan: dict[str, Any]) -> None:
        """Keep the logs of services that left the list: no gate runs for them."""
        gone = [name for name, entry in plans.summarize(plan).items() if name and entry["action"] == "destroy"]
        if not gone:
            return
        with containers.engine() as connection:
            for member in containers.members(connection, self.stack.name):
                if member.role == "app" and member.service in gone:
                    kept_logs.keep(connection, member, self.stack.log_dir)

    def _explain_builds(self, outcome: Outcome, plan: dict[str, Any]) -> dict[str, KarstError]:
        """Service → why its image could not be built: the provider passes on an exit code and nothing more."""
        why = {name: KarstError("its image could not be built", code="build_failed") for name in outcome.unbuilt}
        contexts = plans.build_contexts(plan)
        ca_file = plan.get("variables", {}).get("build_ca_file", {}).get("value") or ""
        found = [name for name in sorted(set(outcome.unbuilt)) if name in contexts]
        if not found:
            return why
        from karst.build_replay import failure

        own = plans.own_dockerfiles(plan)
        with self._phase("why the build failed"):
            for name in found:
                told = failure(name, Path(contexts[name]), ca_file=ca_file, dockerfile=own.get(name, ""))
                if told:
                    error = told.error()
                    outcome.errors.insert(0, str(error))
                    self.events.emit("diagnostic", severity="error", message=error.message, hint=error.hint)
                    error.message = error.message.removeprefix(f"{name}: ")
                    why[name] = error
        return why

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
        listed = members
        if members is None or any(m.role == "pod" and m.mounts for m in members):
            from karst import deliver

            with containers.engine() as docker:  # a host that was started again since has none of its keys
                listed = containers.members(docker, self.stack.name) if members is None else members
                brought = deliver.deliver(docker, deliver.parcels(listed, self.stack.secrets_dir))
            if brought:
                self.events.emit("log", line=f"brought keys to {', '.join(sorted(one.service for one in brought))}")
        with self._phase("health"):
            # A service that has just been let through may still be moving in DNS; one that is down stays down.
            deadline = time.monotonic() + patience
            answers = ask(self.stack, listed=listed)
            while not all(answer.whole for answer in answers) and time.monotonic() < deadline:
                time.sleep(0.5)
                answers = ask(self.stack)
        self.answers = answers
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

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        self.events.emit("phase", phase=name, state="start")
        try:
            yield
        except BaseException:
            self.events.emit("phase", phase=name, state="failed", seconds=round(time.monotonic() - started, 1))
            raise
        self.events.emit("phase", phase=name, state="done", seconds=round(time.monotonic() - started, 1))


def _run(
    stack: Stack,
    verb: str,
    as_events: bool,
    body: Callable[[Run], int],
    wait: float = 0,
    hold: bool = True,
    refresh: bool = False,
    as_json: bool = False,
) -> int:
    """Hold the lock, run, and end the event stream with `result`, whatever happened; ``as_json`` prints only that."""
    as_json = as_json and not as_events
    events = Events(ndjson(sys.stdout) if as_events else output.human(), *([output.result_only] if as_json else []))
    run = Run(stack, events, verb, hold=hold, refresh=refresh, wait=wait)
    error: KarstError | None = None
    code = int(Exit.FAILED)
    # As Ctrl-C, so that the event stream gets its end. While Terraform runs, it has a handler of its own.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with exclusive(stack, verb, wait=wait, tell=lambda line: events.emit("log", line=line)):
            if ended := end_orphans(stack):
                events.emit("log", line=f"ended {ended} providers that a killed Terraform had left behind")
            code = body(run)
    except KeyboardInterrupt:
        error = KarstError("interrupted; run it again to go on", code="interrupted", exit_code=Exit.INTERRUPTED)
        code = int(Exit.INTERRUPTED)
    except KarstError as err:
        error, code = run.failure(err), int(err.exit_code)
        if as_events and not getattr(err, "told", False):
            events.emit("diagnostic", severity="error", message=err.message, hint=err.hint)
    finally:
        signal.signal(signal.SIGTERM, before)
        events.emit(
            "result",
            run=verb,
            stack=stack.name,
            outcome=_outcome(code),
            exit_code=code,
            services=run.record.rows(output.health_rows(run.answers), run.holding.held),
            **({"error": error.to_dict()} if error else {}),
        )
        if verb != "plan" and code != Exit.BUSY:
            message = error.message if error else ""
            note_run(stack, run=verb, outcome=_outcome(code), error=message, held=run.holding.notes())
    if run.answers and not as_events and not as_json:
        output.health_table(run.answers)
    if error and not as_events:
        raise error
    return code


def _outcome(code: int) -> str:
    return {0: "ok", 3: "busy", 5: "unhealthy", 6: "unknown", 130: "interrupted"}.get(code, "failed")


def _told(error: KarstError) -> KarstError:
    """Mark an error whose text the event stream has already told."""
    error.told = True  # type: ignore[attr-defined]
    return error
