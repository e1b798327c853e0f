"""What the repository's own Dockerfile starts: a declaration, though not one of the brief's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from karst.detect import apps, commands, dockerfile, launch, targets
from karst.detect.commands import NeedsShell
from karst.detect.launch import Launch
from karst.detect.repo import Hit, Miss, Outcome, Repo
from karst.detect.skip import TOOL_FILES, test_file


@dataclass(frozen=True)
class Start:
    """What the Dockerfile starts and where it says so; without a launch, why not."""

    launch: Launch | None
    where: str
    why: str


def own(repo: Repo, path: str) -> bool:
    """Whether a file belongs to the project at the root: a subproject's files are started by ``path:``."""
    return not repo.in_subproject(path)


def dockerfile_command(repo: Repo) -> Outcome:
    """What the Dockerfile starts, when that is a file, module or object of the tree."""
    found = start(repo)
    return Hit(found.launch, f"{found.where} starts it", found.where) if found.launch else Miss(found.why)


def instead_of(repo: Repo, hit: Hit) -> Miss | None:
    """A file found by its name gives way when the Dockerfile starts another one that it has nothing to do with."""
    found = start(repo)
    if found.launch is None or found.launch.path == hit.launch.path:
        return None
    text = repo.modules.facts(hit.launch.path).text
    dotted = repo.modules.dotted(found.launch.path)
    if dotted and dotted in text:
        return None  # the file starts the same application itself
    return Miss(f"{hit.launch.path} could be started, but {found.where} starts {found.launch.path}")


def start(repo: Repo) -> Start:
    """Ask once; the rules of the brief's order ask too."""
    key = ("dockerfile",)
    if key not in repo.modules.memo:
        repo.modules.memo[key] = _start(repo)
    return cast(Start, repo.modules.memo[key])


def _start(repo: Repo) -> Start:
    found = dockerfile.read(repo.tree)
    if found is None:
        return Start(None, "", "there is no Dockerfile at the root")
    written, line = _written(found)
    if written is None:
        return Start(None, "", f"{found.path} starts nothing itself")
    where = f"{found.path}:{line}"
    try:
        command = commands.parse(written) if isinstance(written, str) else commands.words(written)
    except NeedsShell as err:
        return Start(None, where, f"{where} needs a shell ({err})")
    target = targets.target_of(repo, command)
    name = target.path.rpartition("/")[2]
    if target.kind in ("program", "script") or not target.path or not own(repo, target.path):
        return Start(None, where, f"{where} starts nothing that is a Python file of this project")
    if name in TOOL_FILES or test_file(name) or repo.modules.facts(target.path).error:
        return Start(None, where, f"{where} runs {target.path}: left to the other rules")
    made = _launch(repo, target)
    return Start(made, where, "" if made else f"{target.path} only defines things")


def _written(found: dockerfile.Dockerfile) -> tuple[list[str] | str | None, int]:
    entry, command = found.entrypoint, found.command
    if entry and command and isinstance(entry[0], list) and isinstance(command[0], list):
        return [*entry[0], *command[0]], command[1]
    chosen = entry or command
    return (chosen[0], chosen[1]) if chosen and chosen[0] else (None, 0)


def _launch(repo: Repo, target: targets.Target) -> Launch | None:
    facts = repo.modules.facts(target.path)
    if target.kind == "app":
        for app in [*apps.objects(repo.modules, facts), *apps.factories(repo.modules, facts)]:
            if app.name == target.name:
                return launch.app_object(repo, target.path, app)
        return None
    made = launch.start_file(repo, target.path)
    if made and target.rest and made.how in ("file", "module") and not any("$" in word for word in target.rest):
        return replace(made, argv=(*made.argv, *target.rest))
    return made
