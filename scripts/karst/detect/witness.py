"""What the repository's own texts start: README, Procfile, compose file, Makefile, start scripts, platform files.

A file that a rule found by its name is doubted when these texts start other things and never that one: then nothing is
started, and the refusal names both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from karst.detect import declared, launch, readme, targets
from karst.detect.errors import DetectError, listed
from karst.detect.frameworks import SERVE_METHODS
from karst.detect.launch import Launch
from karst.detect.repo import Repo
from karst.detect.skip import TOOL_FILES, chore, test_file, training

_TEXTS = re.compile(
    r"(?i)\A(readme(\.(md|rst|txt|markdown))?|procfile|makefile|justfile|(docker-)?compose[\w.-]*\.ya?ml"
    r"|(start|run|entrypoint|docker-entrypoint|serve|launch)(\.sh)?|[\w.-]+\.bat|(render|app|railway|zeabur)\.(ya?ml|toml|json)"
    r"|fly\.toml|nixpacks\.toml|[\w.-]+\.service)\Z"
)
_FOLDER = re.compile(r"\bcd\s+\"?([\w./-]+)")
_NEAR = 6  # lines: how far above a command its `cd` may stand


@dataclass(frozen=True)
class Claim:
    """A file that a text of the repository starts.

    Attributes:
        alone: False when the command has arguments behind it: it confirms a start and contradicts none.
    """

    path: str
    where: str
    alone: bool


def doubt(repo: Repo, made: Launch) -> DetectError | None:
    """The refusal for a start that the repository's own texts contradict; None when they do not."""
    found = claims(repo)
    if any(claim.path == made.path or _leads_to(repo, made, claim.path) for claim in found):
        return None
    others: dict[str, Claim] = {}
    for claim in found:
        if claim.alone and claim.path not in others and _rival(repo, made, claim.path):
            others[claim.path] = claim
    if not others:
        return None
    first = next(iter(others.values()))
    names = [made.path, *others]
    return DetectError(
        "ambiguous",
        f"{made.path} {made.why}, but {first.where} starts {first.path}"
        + (f" (others: {listed(names[2:])})" if len(others) > 1 else ""),
        hint=f"say which one is meant, `entrypoint: {first.path}` for example",
        evidence=first.where,
        candidates=names,
    )


def named(repo: Repo, candidates: Sequence[Launch]) -> tuple[Launch, str] | None:
    """The one candidate that the texts start and ``file:line``; None when they start none or several of them."""
    found: dict[str, tuple[Launch, str]] = {}
    for claim in claims(repo):
        for made in candidates:
            if claim.alone and claim.path == made.path:
                found.setdefault(made.path, (made, claim.where))
    return next(iter(found.values())) if len(found) == 1 else None


def _leads_to(repo: Repo, made: Launch, path: str) -> bool:
    """Whether the start brings the other file in, or is the application that the other file serves."""
    modules = repo.modules
    text = modules.facts(made.path).text
    dotted = modules.dotted(path)
    if path in modules.closure(made.path) or path.rpartition("/")[2] in text or (dotted and dotted in text):
        return True
    return made.kind == "server" and made.path in modules.closure(path) and not _completes(repo, path, made)


def _completes(repo: Repo, path: str, made: Launch) -> bool:
    """Whether a file gives the application of another its pages or routes: without it the application is bare."""
    facts = repo.modules.facts(path)
    names = {name for name in [*facts.names, *facts.relative_names] if _from(repo, path, name) == made.path}
    for node in facts.body:
        if isinstance(node, ast.Assign):
            parts: list[ast.expr] = list(node.targets)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            parts = [node.value.func]
        else:
            continue
        for part in parts:
            of_it = isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in names
            if of_it and cast(ast.Attribute, part).attr not in SERVE_METHODS:
                return True
    routes = [item for function in facts.functions.values() for item in function.node.decorator_list]
    return any(isinstance(node, ast.Name) and node.id in names for item in routes for node in ast.walk(item))


def _from(repo: Repo, path: str, name: str) -> str:
    origin = repo.modules.imported_from(repo.modules.facts(path), name)
    return origin[0] if origin else ""


def _rival(repo: Repo, made: Launch, path: str) -> bool:
    """Whether the other file is a start too, and as much of one: a set-up script does not contradict a server."""
    if repo.modules.facts(path).error:
        return True
    other = launch.start_file(repo, path)
    return other is not None and (other.kind == "server" or made.kind != "server")


def claims(repo: Repo) -> list[Claim]:
    """Every Python file of the tree that one of the texts at the root, or the Dockerfile, starts."""
    key = ("claims",)
    if key not in repo.modules.memo:
        repo.modules.memo[key] = list(_claims(repo))
    return cast("list[Claim]", repo.modules.memo[key])


def _claims(repo: Repo) -> Iterator[Claim]:
    docker = declared.start(repo)
    if docker.launch:
        yield Claim(docker.launch.path, docker.where, True)
    for name in repo.tree.root_files():
        text = repo.tree.text(name) if _TEXTS.match(name) else None
        folder, since = "", 0
        for number, line in enumerate((text or "").splitlines()[:3000], 1):
            if len(line) > 500:
                continue
            move = _FOLDER.search(line)
            if move:
                folder, since = move.group(1).strip("./"), number
            inside = folder if number - since <= _NEAR else ""
            for path, alone in _started(repo, line, inside):
                if _counts(repo, path):
                    yield Claim(path, f"{name}:{number}", alone)


def _started(repo: Repo, line: str, folder: str) -> Iterator[tuple[str, bool]]:
    for name, rest in readme.FILE.findall(line):
        path = name.replace("\\", "/").removeprefix("./")
        inside = f"{folder}/{path}"
        yield (inside if repo.tree.has(inside) else targets.find_file(repo, path)), readme.alone(rest)
    modules = [(name, readme.alone(rest)) for name, rest in readme.MODULE.findall(line)]
    for name, alone in modules:
        stem = f"{folder}/{name.replace('.', '/')}".strip("/")
        path = f"{stem}/__main__.py"
        if not repo.tree.has(path):
            path = (repo.modules.find(name, folder) if folder else None) or targets.find_module(repo, name)[1]
            main = path.replace("__init__.py", "__main__.py")
            path = main if repo.tree.has(main) else path
        yield path, alone
    for name in readme.SPEC.findall(line):
        yield (repo.modules.find(name, folder) if folder else None) or targets.find_module(repo, name)[1], True


def _counts(repo: Repo, path: str) -> bool:
    name = path.rpartition("/")[2]
    stem = name.removesuffix(".py")
    if not path or name in TOOL_FILES or test_file(name) or chore(stem) or training(stem):
        return False
    return not repo.tree.secondary(path)
