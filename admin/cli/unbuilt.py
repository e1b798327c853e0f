"""Why images could not be built: the provider passes on an exit code and nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from karst import plans
from karst.errors import KarstError
from karst.events import Events
from karst.terraform import Outcome


def explain(outcome: Outcome, plan: dict[str, Any], events: Events) -> dict[str, KarstError]:
    """Service → why its image could not be built; told as diagnostics, and put before the outcome's own errors."""
    why = {name: KarstError("its image could not be built", code="build_failed") for name in outcome.unbuilt}
    contexts = plans.build_contexts(plan)
    ca_file = plan.get("variables", {}).get("build_ca_file", {}).get("value") or ""
    found = [name for name in sorted(set(outcome.unbuilt)) if name in contexts]
    if not found:
        return why
    from karst.build_replay import failure

    own = plans.own_dockerfiles(plan)
    with events.phase("why the build failed"):
        for name in found:
            told = failure(name, Path(contexts[name]), ca_file=ca_file, dockerfile=own.get(name, ""))
            if told:
                error = told.error()
                outcome.errors.insert(0, str(error))
                events.emit("diagnostic", severity="error", message=error.message, hint=error.hint)
                error.message = error.message.removeprefix(f"{name}: ")
                why[name] = error
    return why
