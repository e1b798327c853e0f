"""C, the last resort: files with ``def main(`` or a ``__main__`` guard, ranked; and the refusal when none is left."""

from __future__ import annotations

import re

from karst.detect import foreign, launch, servers, witness
from karst.detect.errors import DetectError, listed
from karst.detect.launch import Launch
from karst.detect.repo import Hit, Miss, Outcome, Repo
from karst.detect.skip import TOOL_FILES, chore, example_file, training, words
from karst.detect.wordset import wordset

_HINT = re.compile(r"__main__|def main\(")
_NAMES = ("main", "app", "server", "run", "start", "cli", "bot", "__main__")
_STARTS = ("main", "start", "run", "serve", "launch")
_COLLECTION = 3  # so many other files that work when they are run make a collection of scripts
_START_ORDER = 20  # names with a higher number say nothing about being the start: beside rivals they are no answer
# Modules of a program: a guard in one of these only tries it out.
_PARTS = wordset("""
    log logger logging config settings utils util helpers helper models model db database common constants types
    exceptions errors
    """)

Rank = tuple[int, int, int]


def monorepo(repo: Repo) -> Outcome:
    """No start command, but a refusal: projects in folders, and nothing that declares one at the root."""
    folders = _workspace(repo) or repo.subprojects()
    if folders and not repo.manifest.declared:
        said = {claim.path for claim in witness.claims(repo)}
        if len(said) == 1 and not any(repo.in_subproject(path) for path in said):
            return Miss(f"there are projects in {listed(folders)}, but the repository's own texts start {said.pop()}")
        raise foreign.monorepo(repo, folders)
    return Miss("the folders are not projects of their own" if not folders else "the root declares a project itself")


def _workspace(repo: Repo) -> list[str]:
    if not repo.manifest.workspace or repo.manifest.installable:
        return []
    return list(repo.subprojects())


def guarded_files(repo: Repo) -> Outcome:
    """The best ranked file with a guard or a ``main``; a tie is refused with the names."""
    if repo.manifest.installable:
        return Miss("the project is an installable package: a guarded file in it is a helper, not its start")
    ranked = sorted(((_rank(repo, made), made) for made in _candidates(repo)), key=lambda item: (item[0], item[1].path))
    said = _said(repo) if not ranked else None
    if said:
        return said
    if not ranked:
        return Miss("no file has a `def main(` or a __main__ guard outside tests, docs, examples and tools")
    best, chosen = ranked[0]
    tied = [made for rank, made in ranked if rank == best]
    rivals = [made for rank, made in ranked if rank != best]
    serving = repo.notes.get("server-module", [])
    better = [made for rank, made in ranked if rank[1] < best[1]]  # deeper, but they serve
    says_nothing = best[2] > _START_ORDER
    others = _others(repo, ranked) if says_nothing else []
    if len(tied) > 1 or better or (rivals and (says_nothing or _weak(chosen))) or others or chosen.path in serving:
        known = witness.named(repo, [made for _, made in ranked])
        if known:
            return Hit(known[0], f"{known[1]} starts {known[0].path}: it {known[0].why}", known[0].evidence, "guess")
        names = list(dict.fromkeys([*(made.path for _, made in ranked), *serving, *others]))
        raise DetectError(
            "ambiguous",
            f"several {'files or folders' if set(names) & set(repo.subprojects()) else 'files'} could be the start: "
            f"{listed(names)}",
            hint=f"name one with `entrypoint:`, `entrypoint: {names[0]}` for example"
            + (", or a folder with `path:`" if set(names) & set(repo.subprojects()) else ""),
            evidence=chosen.evidence,
            candidates=names[:20],
        )
    text = "the only file" if len(ranked) == 1 else f"the best ranked of {len(ranked)} files"
    return Hit(chosen, f"{chosen.path} is {text} that can be started: it {chosen.why}", chosen.evidence, "guess")


def _candidates(repo: Repo) -> list[Launch]:
    found: list[Launch] = []
    for path in repo.tree.python_files(scan=True):
        name = path.rpartition("/")[2]
        helper = name in TOOL_FILES or {"test", "tests"} & set(words(name))
        if helper or repo.in_subproject(path) or not _HINT.search(repo.tree.text(path) or ""):
            continue
        facts = repo.modules.facts(path)
        if facts.error or not (facts.guard or "main" in facts.functions):
            continue
        made = launch.start_file(repo, path)
        if made and not servers.streamlit_page(made):
            found.append(made)
    return found


def _said(repo: Repo) -> Hit | None:
    """The one file without guard or ``main`` that the repository's texts start, or None."""
    found = [claim for claim in witness.claims(repo) if claim.alone and not repo.in_subproject(claim.path)]
    if len({claim.path for claim in found}) != 1 or repo.modules.facts(found[0].path).error:
        return None
    made = launch.start_file(repo, found[0].path)
    return Hit(made, f"{found[0].where} starts {made.path}: it {made.why}", made.evidence, "guess") if made else None


def _others(repo: Repo, ranked: list[tuple[Rank, Launch]]) -> list[str]:
    """What could be meant instead of a file whose name says nothing.

    Guarded files in the folders for helpers, projects in folders, and many files that work without a guard.
    """
    known = {made.path for _, made in ranked} | set(repo.modules.closure(ranked[0][1].path))
    searched = set(repo.tree.python_files(scan=True))
    guarded: list[str] = []
    scripts: list[str] = []
    for path in repo.tree.python_files():
        facts = repo.modules.facts(path)
        left_out = path in known or facts.error or repo.in_subproject(path) or path.rpartition("/")[2] in TOOL_FILES
        if left_out or example_file(path.rpartition("/")[2]):
            continue
        if path not in searched:
            guarded += [path] if facts.guard else []
        elif launch.start_file(repo, path):
            scripts.append(path)
    return [*guarded, *repo.subprojects(), *(scripts if len(scripts) >= _COLLECTION else [])]


def _rank(repo: Repo, made: Launch) -> Rank:
    stem = made.path.rpartition("/")[2].removesuffix(".py").lower()
    if stem in repo.names():
        order = 0
    elif stem in _NAMES:
        order = _NAMES.index(stem)
    elif stem in _PARTS:
        order = 90
    else:
        order = _START_ORDER if stem.startswith(_STARTS) else 50
    return made.path.count("/"), 0 if made.kind == "server" else 1, order


def _weak(made: Launch) -> bool:
    """A name that says "one step of several", among other candidates."""
    stem = made.path.rpartition("/")[2].removesuffix(".py")
    return training(stem) or chore(stem)


def refuse(repo: Repo) -> DetectError:
    """Nothing starts it: say what it is instead."""
    folders = _workspace(repo) or repo.subprojects()
    serving = repo.notes.get("server-module", [])
    if serving and not repo.manifest.installable:
        return DetectError(
            "ambiguous",
            f"several modules serve: {listed(serving)}",
            hint=f"name one with `entrypoint:`, `entrypoint: {serving[0]}` for example",
            candidates=serving[:20],
            evidence=f"{serving[0]}:1",
        )
    if folders and not repo.manifest.installable:
        return foreign.monorepo(repo, folders, declared=bool(repo.manifest.declared))
    evidence = repo.manifest.declared
    if repo.manifest.distribution:
        name = repo.manifest.name or "it"
        return DetectError(
            "library",
            f"`{name}` is a library: it declares a package ({evidence}) and nothing that starts",
            hint="to run a part of it, name that with `entrypoint: module:function`",
            evidence=evidence,
        )
    notebooks = repo.tree.suffixes()[".ipynb"]
    seen = foreign.describe(repo)
    more = "; notebooks are not run" if notebooks else ""
    return DetectError(
        "no_entrypoint",
        f"nothing in this repository says how it is started ({seen}){more}",
        hint="name the start with `entrypoint: module:function`, `entrypoint: file.py`, or add a main.py",
        evidence=evidence,
    )
