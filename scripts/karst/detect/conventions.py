"""C, first half. The order of the brief: console scripts, a package's ``__main__``, main.py, app.py."""

from __future__ import annotations

import ast
from dataclasses import replace

from karst.detect import declared, launch, serves, targets, witness
from karst.detect.errors import DetectError, listed
from karst.detect.manifests import Script, normalise
from karst.detect.reach import start_blocks
from karst.detect.repo import Hit, Miss, Outcome, Repo
from karst.detect.skip import chore, words


def console_script(repo: Repo) -> Outcome:
    """The first console script that leads into the tree and is not a helper for developers."""
    scripts = repo.manifest.scripts
    if not scripts and not repo.manifest.script_files:
        return Miss("no console script is declared")
    usable: list[Script] = []
    helpers: list[Script] = []
    why: list[str] = []
    for script in scripts:
        problem = _broken(repo, script)
        if problem:
            why.append(f"`{script.name}` {problem}")
        elif _helper(repo, script):
            helpers.append(script)
            why.append(f"`{script.name}` is a helper for developers")
        else:
            usable.append(script)
    related = [script for script in helpers if _named_after(repo, script)]
    named = _named_like_the_project(repo, usable, [script.name for script in scripts])
    for script in [*named, *usable, *related]:
        made = targets.console(repo, script.name, script.target, script.evidence)
        first = "the" if len(scripts) == 1 else "named like the project, and the" if named else "the first usable"
        return Hit(made, f"`{script.name}` is {first} console script ({script.target})", script.evidence, "certain")
    for script in repo.manifest.script_files:
        if _is_python(repo, script.target) and not chore(script.name):
            return _script_file(repo, script)
    return Miss("; ".join(why) or "the script files are not Python")


def _broken(repo: Repo, script: Script) -> str:
    """Why a script cannot work, or ""."""
    module, _, attribute = script.target.partition(":")
    _, path = targets.find_module(repo, module)
    if not path:
        return "" if repo.modules.exists(module) else f"leads to `{module}`, which is not in the tree"
    facts = repo.modules.facts(path)
    head = attribute.split(".")[0]
    known = {*facts.functions, *facts.classes, *facts.assigned, *facts.names, *facts.relative_names, *facts.bound}
    if repo.modules.exists(f"{module}.{head}"):
        return ""  # a module of the package, which the import of the package brings in
    if head and not facts.error and head not in known and not facts.stars and "__getattr__" not in facts.functions:
        return f"leads to `{script.target}`, which {path} does not define"
    return ""


def _helper(repo: Repo, script: Script) -> bool:
    """A chore by its name, or a function of a tests, tools … folder; never what the project is named after."""
    same = {normalise(name) for name in (repo.manifest.name, repo.name) if name}
    if normalise(script.name) in same:
        return False
    _, path = targets.find_module(repo, script.target.partition(":")[0])
    return chore(script.name) or bool(path and repo.tree.secondary(path))


def _named_like_the_project(repo: Repo, usable: list[Script], names: list[str]) -> list[Script]:
    """In an alphabetical list of three and more the order says nothing, and the project's own name does."""
    if len(names) < 3 or names != sorted(names):
        return []
    return [script for script in usable if normalise(script.name) == normalise(repo.manifest.name)]


def _named_after(repo: Repo, script: Script) -> bool:
    own = set(words(repo.manifest.name)) | set(words(repo.name))
    return bool(own & set(words(script.name)))


def _is_python(repo: Repo, path: str) -> bool:
    return path.endswith(".py") or b"python" in repo.tree.head(path, 200).split(b"\n")[0]


def _script_file(repo: Repo, script: Script) -> Hit:
    facts = repo.facts(script.target)
    file, _, line = script.evidence.rpartition(":")
    start = tuple(start_blocks(facts))
    serve = serves.serving(repo.modules, list(start))
    made = launch.Launch(
        (script.name,),
        "console-script",
        file,
        int(line),
        f"installs the script `{script.name}`",
        kind="server" if serve else "unknown",
        port=serve.port if serve else None,
        start=start,
        install=True,
    )
    return Hit(made, f"setup.py installs the script {script.target}", script.evidence, "certain")


def package_main(repo: Repo) -> Outcome:
    """``{package}/__main__.py`` at the root: the project's own name first, then the one that serves, then sorted."""
    return _mains(repo, "", [name for name in repo.tree.children("") if name not in ("app", "src")])


def _mains(repo: Repo, root: str, names: list[str]) -> Outcome:
    prefix = f"{root}/" if root else ""
    found = [name for name in names if repo.tree.has(f"{prefix}{name}/__main__.py")]
    found = [name for name in found if not repo.tree.secondary(f"{prefix}{name}/__main__.py")]
    found = [name for name in found if not repo.in_subproject(f"{prefix}{name}/__main__.py") or repo.manifest.declared]
    if not found:
        where = f"{root}/*" if root else "*"
        return Miss(f"there is no {where}/__main__.py outside tests, docs, examples and tools")
    own = [name for name in repo.names() if name in found]
    chosen = own[0] if own else sorted(found)[0]
    if not own and len(found) > 1:
        mains = {name: repo.modules.facts(f"{prefix}{name}/__main__.py") for name in found}
        serving = [name for name, facts in mains.items() if serves.serving(repo.modules, start_blocks(facts))]
        claimed = {claim.path for claim in witness.claims(repo)}
        said = [name for name in found if f"{prefix}{name}/__main__.py" in claimed]
        if len(said) != 1 and len(serving) != 1:
            if any(repo.tree.has(name) for name in ("main.py", "__main__.py", "app.py")):
                return Miss(f"several packages have a __main__.py ({', '.join(sorted(found))}), and nothing says which")
            raise _tie(prefix, found)
        chosen = said[0] if len(said) == 1 else serving[0]
    path = f"{prefix}{chosen}/__main__.py"
    made = launch.module(repo, path, chosen, root) if chosen.isidentifier() else launch.run_path(repo, path)
    reason = f"the package `{chosen}` has a __main__.py"
    if len(found) > 1:
        reason += f" (chosen among {', '.join(sorted(found))})"
    hit = Hit(replace(made, why=reason), reason, made.evidence)
    return declared.instead_of(repo, hit) or hit


def _tie(prefix: str, found: list[str]) -> DetectError:
    paths = [f"{prefix}{name}/__main__.py" for name in sorted(found)]
    return DetectError(
        "ambiguous",
        f"{listed(paths)} could each be the start, and nothing says which",
        hint=f"name one with `entrypoint:`, `entrypoint: {sorted(found)[0]}` for example",
        evidence=f"{paths[0]}:1",
        candidates=paths,
    )


def root_main(repo: Repo) -> Outcome:
    """``main.py`` or ``__main__.py`` at the root."""
    return _first_file(repo, ("main.py", "__main__.py"), "at the root")


def app_file(repo: Repo) -> Outcome:
    """``app.py``, ``app/__main__.py``, ``src/{package}/__main__.py``."""
    found = _first_file(repo, ("app.py",), "at the root")
    if isinstance(found, Hit):
        return found
    for package in ("app", "src"):
        path = f"{package}/__main__.py"
        if repo.tree.has(path) and (repo.manifest.declared or not repo.in_subproject(path)):
            made = launch.module(repo, path, package, "")
            hit = Hit(made, f"the package `{package}` has a __main__.py", made.evidence)
            return declared.instead_of(repo, hit) or hit
    inner = _mains(repo, "src", repo.tree.children("src"))
    if isinstance(inner, Hit):
        return inner
    return Miss(f"{found.why}; there is no app/__main__.py; {inner.why}")


def _first_file(repo: Repo, names: tuple[str, ...], where: str) -> Outcome:
    why: list[str] = []
    for name in names:
        if not repo.tree.has(name):
            why.append(f"there is no {name} {where}")
            continue
        made = launch.start_file(repo, name)
        if made and _placeholder(repo, name):
            why.append(f"{name} is what a tool puts into a new project, and the program is elsewhere")
            continue
        if made:
            hit = Hit(made, f"{name} {made.why}", made.evidence)
            other = declared.instead_of(repo, hit)
            if not other:
                return hit
            why.append(other.why)
            continue
        why.append(f"{name} only defines things: running it would do nothing")
    return Miss("; ".join(why))


def _placeholder(repo: Repo, name: str) -> bool:
    """A new project's first file as editors and package managers write it, left beside a program that came later."""
    facts = repo.modules.facts(name)
    if set(facts.functions) == {"print_hi"}:
        greets = not facts.imported
    else:
        text = facts.functions["main"].node.body if set(facts.functions) == {"main"} else []
        greets = len(text) == 1 and ast.unparse(text[0]).startswith("print('Hello from ")
    return greets and len(repo.tree.python_files()) > 1
