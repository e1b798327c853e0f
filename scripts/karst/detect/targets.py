"""From a name or a command that somebody wrote to a launch: ``module:function``, a file, a script, a whole command."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace

from karst.detect import apps, launch, serves
from karst.detect import frameworks as fw
from karst.detect.commands import FOREIGN, PYTHONS, SERVERS, Command
from karst.detect.errors import DetectError
from karst.detect.launch import Launch
from karst.detect.repo import Repo
from karst.errors import did_you_mean

_SPEC = re.compile(r"\A[\w.-]+:[\w.]+(?:\(\))?\Z")


@dataclass(frozen=True)
class Target:
    """What a command starts: a file of the tree, an object in it, or a program."""

    kind: str  # file, module, app, script, program
    path: str = ""
    name: str = ""
    rest: tuple[str, ...] = ()


def bad(message: str, hint: str = "", evidence: str = "") -> DetectError:
    """An override that cannot be followed: the user is told, nothing is guessed instead."""
    return DetectError("bad_entrypoint", message, hint=hint or _FORMS, evidence=evidence)


_FORMS = "an entry point is `module:function`, `module`, `path/file.py`, a console script's name, or a whole command"


def by_name(repo: Repo, text: str, where: str) -> Launch:
    """The launch of a one-word override. Raises DetectError (bad_entrypoint) when the tree has no such thing."""
    if _SPEC.match(text):
        return _attribute(repo, text, where)
    path = _clean(text)
    if repo.tree.has(path) and path.endswith(".py"):
        repo.facts(path)
        return launch.start_file(repo, path) or replace(launch.run_path(repo, path), why="is named")
    if repo.tree.has(path) and repo.tree.files[path].executable and ("/" in text or path == text):
        return Launch((f"{launch.APP}/{path}",), "command", path, 1, "is named")
    for script in repo.manifest.scripts:
        if script.name == text:
            return console(repo, script.name, script.target, script.evidence)
    if text.endswith((".py", ".sh")) or "/" in text:
        near = did_you_mean(path, repo.tree.python_files()[:2000])
        raise bad(f"{where} names the file `{text}`, which is not in the repository", near)
    return _module(repo, text, where)


def _module(repo: Repo, text: str, where: str) -> Launch:
    root, path = find_module(repo, text)
    if path:
        main = path.replace("__init__.py", "__main__.py")
        if path.endswith("/__init__.py") and not repo.tree.has(main):
            raise bad(
                f"{where} names the package `{text}`, which has no __main__.py",
                f"name a function in it, `{text}:main` for example",
                path,
            )
        made = launch.module(repo, main if path.endswith("/__init__.py") else path, text, root)
        return replace(made, why="is named")
    folder = next(
        (
            f"{r}/{text.replace('.', '/')}".strip("/")
            for r in repo.manifest.package_roots
            if repo.tree.has(f"{r}/{text.replace('.', '/')}/__main__.py".lstrip("/"))
        ),
        "",
    )
    if folder:
        root = folder[: -len(text)].strip("/")
        return replace(launch.module(repo, f"{folder}/__main__.py", text, root), why="is named")
    top = text.split(".")[0]
    if top in sys.stdlib_module_names or repo.manifest.depends_on(top.replace("_", "-").lower()):
        return Launch(("python", "-m", text), "module", "", 0, "is named and comes from a dependency")
    known = [s.name for s in repo.manifest.scripts]
    known += [p[:-3].replace("/", ".") for p in repo.tree.python_files()[:2000]]
    raise bad(
        f"{where} names `{text}`, and the repository has no such module or console script", did_you_mean(text, known)
    )


def find_module(repo: Repo, dotted: str) -> tuple[str, str]:
    """(import root, file) of a module, in the package roots or else the one place that fits; ("", "") if absent."""
    path = repo.modules.find(dotted) or repo.modules.anywhere(dotted) or ""
    if not path:
        return "", ""
    stem = dotted.replace(".", "/")
    inner = path.removesuffix("/__init__.py").removesuffix(".py")
    return (inner[: -len(stem)].strip("/") if inner.endswith(stem) else ""), path


def _attribute(repo: Repo, text: str, where: str) -> Launch:
    dotted, _, name = text.partition(":")
    name = name.removesuffix("()")
    if dotted.endswith(".py"):
        dotted = _clean(dotted)[:-3].replace("/", ".")
    _, path = find_module(repo, dotted)
    if not path:
        known = [
            p.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in repo.tree.python_files()[:2000]
        ]
        raise bad(f"{where} names the module `{dotted}`, which is not in the repository", did_you_mean(dotted, known))
    facts = repo.facts(path)
    for app in [*apps.objects(repo.modules, facts), *apps.factories(repo.modules, facts)]:
        if app.name == name and app.framework.interface != "robyn":
            return replace(launch.app_object(repo, path, app), why=f"is named, a {app.framework.name} application")
    head = name.split(".")[0]
    known = [*facts.functions, *facts.classes, *facts.assigned, *facts.names, *facts.relative_names]
    if head not in known and not facts.stars and "__getattr__" not in facts.functions:
        raise bad(f"{where} names `{name}`, which {path} does not define", did_you_mean(head, known), f"{path}:1")
    target = facts.functions.get(name)
    if target and [p for p in target.required() if p not in ("ctx", "argv")] and not target.node.decorator_list:
        missing = ", ".join(target.required())
        raise bad(
            f"{where} names {dotted}:{name}, which cannot be called without arguments ({missing})",
            "name a function that takes none",
            f"{path}:{target.line}",
        )
    if target is None and name in fw.APP_NAMES and head not in facts.bound:
        asgi = repo.manifest.depends_on("fastapi", "starlette", "litestar", "quart", "uvicorn")
        wsgi = repo.manifest.depends_on("flask", "django", "bottle", "falcon", "pyramid", "gunicorn", "dash")
        if asgi != wsgi:
            guess = fw.Framework("ASGI" if asgi else "WSGI", fw.ASGI if asgi else fw.WSGI)
            return launch.app_object(repo, path, apps.App(name, guess, 1))
    return replace(launch.function(repo, path, name), why="is named")


def console(repo: Repo, name: str, target: str, evidence: str) -> Launch:
    """A console script: by its name when the project is installed, else its function is called directly."""
    from karst.detect.reach import Block, function_named

    dotted, _, attribute = target.partition(":")
    _, path = find_module(repo, dotted)
    start: tuple[Block, ...] = ()
    serve = None
    if path:
        facts = repo.facts(path)
        found = function_named(repo.modules, facts, attribute.split(".")[0]) if attribute else None
        if found:
            start = (Block(found[0], tuple(found[1].node.body), 0, found[1].name),)
            serve = serves.serving(repo.modules, list(start))
    file, _, line = evidence.rpartition(":")
    made = Launch(
        (name,),
        "console-script",
        file,
        int(line),
        f"declares the console script `{name}`",
        kind="server" if serve else "unknown",
        port=serve.port if serve else None,
        start=start,
        install=True,
    )
    installed = repo.manifest.installable and repo.manifest.installs(dotted, path)
    if path and attribute and not installed:
        direct = launch.function(repo, path, attribute)
        return replace(made, argv=direct.argv, how="function", env=direct.env, install=direct.install)
    return made


def target_of(repo: Repo, command: Command) -> Target:
    """What a command starts, looked up in the tree."""
    argv = list(command.argv)
    program = argv[0].rpartition("/")[2]
    if PYTHONS.match(program):
        return _python_target(repo, argv[1:], command.folder)
    if program in SERVERS:
        return _server_target(repo, program, argv[1:], command.folder)
    for script in repo.manifest.scripts:
        if script.name == program:
            return Target("script", name=program, rest=tuple(argv[1:]))
    path = _clean(f"{command.folder}/{argv[0]}")
    if repo.tree.has(path) and path.endswith(".py"):
        return Target("file", path, rest=tuple(argv[1:]))
    return Target("program", path if repo.tree.has(path) else "", program, tuple(argv[1:]))


def _python_target(repo: Repo, words: list[str], folder: str) -> Target:
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c"):
        takes_value = words[0] in ("-W", "-X")
        words = words[2:] if takes_value else words[1:]
    if len(words) > 1 and words[0] == "-m":
        if words[1] in SERVERS:
            return _server_target(repo, words[1], words[2:], folder)
        _, path = find_module(repo, words[1])
        if path.endswith("/__init__.py"):
            path = (
                path.replace("__init__.py", "__main__.py")
                if repo.tree.has(path.replace("__init__", "__main__"))
                else ""
            )
        return Target("module", path, words[1], tuple(words[2:]))
    if words and not words[0].startswith("-"):
        path = find_file(repo, f"{folder}/{words[0]}")
        return Target("file", path, words[0], tuple(words[1:]))
    return Target("program", "", "python", tuple(words))


def find_file(repo: Repo, written: str) -> str:
    """A file by the path somebody wrote, also below the folder that the Dockerfile copies from."""
    path = _clean(written.removeprefix("/"))
    if repo.tree.has(path):
        return path
    parts = path.split("/")
    for cut in range(1, len(parts)):  # /code/app/main.py → app/main.py → main.py
        shorter = "/".join(parts[cut:])
        if repo.tree.has(shorter):
            return shorter
    found = [p for p in repo.tree.files if p.endswith("/" + parts[-1]) and not repo.tree.secondary(p)]
    return found[0] if len(found) == 1 else ""


def _server_target(repo: Repo, program: str, words: list[str], folder: str) -> Target:
    if program in ("streamlit", "chainlit"):
        name = next((word for word in words if word.endswith(".py")), "")
        return Target("file", find_file(repo, f"{folder}/{name}") if name else "", name)
    if program == "flask":
        return Target("program", "", "flask", tuple(words))
    for word in words:
        match = re.fullmatch(r"([\w.]+):([\w.]+)(\(.*\))?", word)
        dotted, name = (match.group(1), match.group(2)) if match else (word, "")
        if match or (re.fullmatch(r"[A-Za-z_][\w.]*", word) and repo.modules.find(word)):
            path = _app_file(repo, dotted, folder)
            if path:
                return Target("app", path, name or "application", tuple(words))
    return Target("program", "", program, tuple(words))


def _app_file(repo: Repo, dotted: str, folder: str) -> str:
    if folder:
        inside = repo.modules.find(dotted, folder)
        if inside:
            return inside
    return find_module(repo, dotted)[1]


def from_command(repo: Repo, command: Command, where: str) -> Launch:
    """A command as its author wrote it, with paths turned to /app and the server it needs supplied.

    Raises DetectError when it starts another language's program or a file that is not there.
    """
    target = target_of(repo, command)
    program = command.argv[0].rpartition("/")[2]
    if program in FOREIGN:
        raise DetectError(
            "not_python",
            f"{where} starts `{program}`, which is no Python program",
            hint="give the way into the Python part with `entrypoint:`",
            evidence=where,
        )
    if target.kind in ("file", "module") and not target.path and target.name not in sys.stdlib_module_names:
        top = target.name.split(".")[0]
        if target.kind == "file" or not repo.manifest.depends_on(top.replace("_", "-").lower()):
            raise bad(f"{where} starts `{target.name}`, which is not in the repository", evidence=where)
    argv = list(command.argv)
    if PYTHONS.match(program):
        argv[0] = "python"
    if target.kind == "file" and target.path and target.name in argv:
        argv[argv.index(target.name)] = f"{launch.APP}/{target.path}"
    elif target.kind == "file" and target.path and argv[0] != "python":
        argv[0:1] = ["python", f"{launch.APP}/{target.path}"]
    elif target.kind == "program" and target.path:
        argv[0] = f"{launch.APP}/{target.path}"
    env = dict(command.env)
    if command.folder and target.kind in ("app", "module", "program"):
        env.setdefault("PYTHONPATH", f"{launch.APP}/{command.folder}")
    serve = target.kind == "app" or program in SERVERS
    return Launch(
        tuple(argv),
        program if program in SERVERS else "command",
        target.path,
        1,
        "is written there",
        kind="server" if serve else "unknown",
        port=_port(argv),
        env=env,
        packages=launch.missing(repo, program) if program in ("gunicorn", "uvicorn", "hypercorn") else (),
        install=target.kind == "script",
    )


def _port(argv: list[str]) -> int | None:
    text = " ".join(argv)
    match = re.search(r"(?:--port[= ]|-p |:)(\d{2,5})(?:\s|\Z)", text)
    return int(match.group(1)) if match and 0 < int(match.group(1)) < 65536 else None


def _clean(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(parts) if ".." not in parts else ""
