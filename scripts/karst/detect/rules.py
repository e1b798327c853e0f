"""The rules in their order, and the one loop over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from karst.detect import conventions, declared, extensions, foreign, overrides, pythons, scan, witness
from karst.detect.arguments import needed, needed_by_function
from karst.detect.errors import DetectError
from karst.detect.repo import Hit, Miss, Outcome, Repo
from karst.detect.result import Alternative, Detection


@dataclass(frozen=True)
class Rule:
    """One rule: its id, its letter in docs/detection.md, and what it looks at."""

    name: str
    letter: str
    ask: Callable[[Repo], Outcome]


# The order is the contract: the first hit wins. A rule answers with Hit or Miss, or refuses with DetectError.
RULES: tuple[Rule, ...] = (
    Rule("entrypoint", "A1", overrides.from_list),
    Rule("variable", "A2", overrides.from_variable),
    Rule("label", "A3", overrides.from_label),
    Rule("procfile", "A4", overrides.from_procfile),
    Rule("not-python", "B1", foreign.gate),
    Rule("python-version", "B2", pythons.gate),
    Rule("console-script", "C1", conventions.console_script),
    Rule("package-main", "C2", conventions.package_main),
    Rule("root-main", "C3", conventions.root_main),
    Rule("app-file", "C4", conventions.app_file),
    Rule("dockerfile", "C5", declared.dockerfile_command),
    Rule("django", "C6", extensions.django),
    Rule("root-named", "C7", extensions.root_named),
    Rule("monorepo", "C8", scan.monorepo),
    Rule("server-module", "C9", extensions.server_module),
    Rule("package-app", "C10", extensions.package_app),
    Rule("scan", "C11", scan.guarded_files),
)
_GATES = ("not-python", "python-version", "monorepo")
# Found by their names or by a search: the repository's own texts may contradict these, and then nothing is started.
_DOUBTED = ("package-main", "root-main", "app-file", "root-named", "server-module", "package-app", "scan")


@dataclass(frozen=True)
class Step:
    """What one rule said, for ``--explain``."""

    rule: str
    letter: str
    outcome: str  # hit, miss, refusal, or "skipped" behind a refusal
    why: str


def run(repo: Repo) -> tuple[Detection | DetectError, list[Step]]:
    """Ask every rule. The first hit is the answer, later hits are its alternatives; refusals before a hit end it."""
    steps: list[Step] = []
    chosen: tuple[Rule, Hit] | None = None
    others: list[Alternative] = []
    refused: DetectError | None = None
    for rule in RULES:
        if refused:
            steps.append(Step(rule.name, rule.letter, "skipped", "an earlier rule refused"))
            continue
        try:
            outcome = rule.ask(repo)
        except DetectError as err:
            steps.append(Step(rule.name, rule.letter, "refusal", err.message))
            # Behind a hit a refusal is only an opinion, but for the Python version, which nobody can override.
            if chosen is None or rule.name == "python-version":
                refused = err
            continue
        if isinstance(outcome, Miss):
            steps.append(Step(rule.name, rule.letter, "miss", outcome.why))
            continue
        steps.append(Step(rule.name, rule.letter, "hit", outcome.reason))
        if chosen is None:
            chosen = rule, outcome
        elif outcome.launch.argv != chosen[1].launch.argv:
            others.append(Alternative(outcome.launch.argv, rule.name, outcome.evidence))
    if refused:
        return refused, steps
    if chosen is None:
        return scan.refuse(repo), steps
    unique = [item for n, item in enumerate(others) if item.argv not in [other.argv for other in others[:n]]]
    if chosen[0].name in _DOUBTED:
        doubt = witness.doubt(repo, chosen[1].launch)
        why = doubt.message if doubt else "the repository's own texts start nothing else, or this as well"
        steps.append(Step("doubt", "D", "refusal" if doubt else "miss", why))
        if doubt:
            return doubt, steps
    try:
        return _detection(repo, *chosen, tuple(unique)), steps
    except DetectError as err:
        return err, steps


def _detection(repo: Repo, rule: Rule, hit: Hit, others: tuple[Alternative, ...]) -> Detection:
    made = hit.launch
    if not repo.args and not hit.args_given:
        _check_arguments(repo, hit)
    return Detection(
        argv=(*made.argv, *repo.args),
        kind=made.kind,
        rule=rule.name,
        reason=hit.reason,
        evidence=hit.evidence,
        alternatives=others,
        launch=made.how,
        port=made.port,
        env=made.env,
        packages=made.packages,
        python="" if made.how == "binary" else pythons.specifier(repo),
        install=made.install,
        confidence=hit.confidence,
    )


def _check_arguments(repo: Repo, hit: Hit) -> None:
    start = list(hit.launch.start)
    need = None
    if hit.launch.how in ("console-script", "function") and len(start) == 1:
        block = start[0]
        function = block.facts.functions.get(block.where)
        need = needed_by_function(repo.modules, block.facts, function) if function else needed(repo.modules, start)
    elif start:
        need = needed(repo.modules, start)
    if need:
        where = f"{need.path}:{need.line}"
        raise DetectError(
            "needs_arguments",
            f"`{' '.join(hit.launch.argv)}` needs the argument `{need.what}` ({where})",
            hint="set `args:` in the list; without them it would only print its usage",
            evidence=where,
            candidates=[" ".join(hit.launch.argv)],
        )
