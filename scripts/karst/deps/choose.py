"""The choice: from a repository's files to the commands that install it. Static, deterministic, with a reason.

Order: a lock file (uv, Poetry, PDM, pylock, Pipenv), requirements*.txt, a Pipfile, the project's own metadata, a
script's inline metadata. The project itself is installed afterwards when it can be.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from karst.deps import extras, rules, skeleton, versions
from karst.deps import project as projects
from karst.deps.model import APP, Command, Plan
from karst.deps.project import Project
from karst.deps.rules import INSTALL, RULES, Facts, Request, nothing
from karst.deps.tree import Tree
from karst.errors import KarstError

__all__ = ["Request", "choose"]

EXTRA = re.compile(r"[A-Za-z0-9][\w.-]*")
SCRIPT_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
SCRIPT_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def choose(request: Request) -> Plan:
    """The plan for one repository; never raises for a repository that merely has no manifest."""
    tree = Tree(request.source)
    with _of_its_form("pyproject.toml"):
        return _choose(request, tree)


def _choose(request: Request, tree: Tree) -> Plan:
    project = projects.read(tree)
    # A name that is none could be an option of uv's command line.
    asked = {extra: where for extra, where in _extras(request, tree, project).items() if EXTRA.fullmatch(extra)}
    if asked:
        project = projects.read(tree, frozenset(asked))
    facts = Facts(request, tree, project, frozenset(asked))
    plan = None
    for rule in RULES:
        with _of_its_form(_LOCKS.get(rule, "pyproject.toml")):
            plan = rule(facts)
        if plan:
            break
    plan = plan or nothing(facts)
    notes = tuple(f"extra `{extra}` is installed because of {where}" for extra, where in sorted(asked.items()))
    return _finish(facts, replace(plan, notes=plan.notes + notes))


@contextlib.contextmanager
def _of_its_form(name: str) -> Iterator[None]:
    """A file that parses and yet is not what it should be is one sentence: somebody edited it, or cut it short."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as err:
        written = name in _LOCKS.values() and "lock" in name
        raise KarstError(
            f"{name} {'does not have the form that its tool writes' if written else 'cannot be understood'} "
            f"({type(err).__name__}: {err})",
            hint="make it anew with its tool, and commit it" if written else f"correct {name}, and commit it",
            code="bad_manifest",
        ) from err


_LOCKS: dict[Any, str] = {
    rules.uv_lock: "uv.lock",
    rules.poetry_lock: "poetry.lock",
    rules.pdm_lock: "pdm.lock",
    rules.pylock: "pylock.toml",
    rules.pipfile_lock: "Pipfile.lock",
    rules.requirements: "requirements.txt",
    rules.pipfile: "Pipfile",
}


def _extras(request: Request, tree: Tree, project: Project) -> dict[str, str]:
    """Extras the entry names or imports, each with the place that asks for it."""
    target = project.scripts.get(request.script, "")
    named = dict.fromkeys(sorted(extras.named(target)), project.evidence)
    entry = target.split("[")[0].split(":")[0].strip() or request.entry
    if named or not entry or not project.optional:
        return named
    return extras.needed(tree, entry, project.requires or [], project.optional, project.name)


def _finish(facts: Facts, plan: Plan) -> Plan:
    """Add the project itself, its version, and what the launch needs from it."""
    request, project = facts.request, facts.project
    version = project.version or (
        versions.from_source(facts.tree, request.ref, request.revision, project.name) if project.name else ""
    )
    pretended = "" if project.version and not versions.from_pkg_info(facts.tree) else version
    commands, env, scripts = plan.project, {}, {}
    own = project.installable
    if own:
        if plan.kind != "uv.lock":
            picked = f"[{','.join(sorted(facts.extras))}]" if facts.extras else ""
            options: Command = ("--no-deps",) if plan.complete else ()
            options += ("--editable",) if project.editable else ()
            commands += ((*INSTALL, *options, APP + picked),)
        env = versions.pretend(list(project.build_requires), project.name, pretended) if pretended else {}
    elif request.launch == "console-script" and request.script in project.scripts:
        target = project.scripts[request.script].split("[")[0].strip()
        if SCRIPT_NAME.fullmatch(request.script) and SCRIPT_TARGET.fullmatch(target):
            scripts = {request.script: target}
    return replace(
        plan,
        project=commands,
        complete=plan.complete or not commands,
        project_optional=not request.install and request.launch != "console-script" and plan.complete,
        skeleton=(
            skeleton.of(facts.tree, told_version=bool(env))
            if own and plan.complete and len(commands) == 1 and project.editable
            else None
        ),
        env=env,
        scripts=scripts,
        version=version,
    )
