"""Runs that change a stack: plan, apply, deploy, destroy, rollback. One at a time per stack; run.py has the steps."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

from admin.cli import output
from admin.cli.lock import end_orphans, exclusive
from admin.cli.run import Run
from admin.cli.status import note_run
from karst import plans, review
from karst.errors import Exit, KarstError
from karst.events import Events, ndjson
from karst.stack import Stack


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
