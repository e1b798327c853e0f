"""C, second half. Only where the brief's order found nothing: Dockerfile, Django, well-known names, the one server."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from karst.detect import apps, foreign, launch, servers, witness
from karst.detect.declared import own
from karst.detect.errors import DetectError, listed
from karst.detect.frameworks import APP_CLASSES
from karst.detect.repo import Hit, Miss, Outcome, Repo

ROOT_NAMES = [f"{stem}.py" for stem in (
    "server", "run", "start", "bot", "wsgi", "asgi", "application", "api", "web", "serve", "runserver",
    "streamlit_app", "service", "runner", "launch", "launcher", "index", "manage",
    )]  # fmt: skip

# These names alone say that the file is started; the others also name modules, and must show it.
_SAY_IT = {f"{stem}.py" for stem in ("server", "run", "start", "bot", "serve", "runserver", "launch", "launcher")}


def django(repo: Repo) -> Outcome:
    """``manage.py`` of Django: the project's WSGI application, or the ASGI one when only that is configured."""
    found = [p for p in repo.tree.python_files() if p.rpartition("/")[2] == "manage.py" and own(repo, p)]
    found = [p for p in found if "django" in (repo.tree.text(p) or "").lower()]
    if not found:
        return Miss("there is no manage.py of Django")
    nearest = [p for p in found if p.count("/") == found[0].count("/")]
    if len(nearest) > 1:
        raise DetectError(
            "ambiguous",
            f"there are several Django projects: {', '.join(nearest)}",
            hint="set `path:` to the folder of one, or name its module with `entrypoint:`",
            candidates=nearest,
            evidence=f"{nearest[0]}:1",
        )
    path = nearest[0]
    root = path.rpartition("/")[0]
    if root:
        _not_alone(repo, root)
    settings = _settings_name(repo, path)
    package = settings.split(".")[0] if settings else ""
    text = _settings_text(repo, settings, root)
    wsgi, asgi = _setting(text, "WSGI_APPLICATION"), _setting(text, "ASGI_APPLICATION")
    inner = settings.rpartition(".settings")[0] if ".settings" in settings else package
    guesses = [
        (f"{base}.{kind}", kind) for kind in ("wsgi", "asgi") for base in dict.fromkeys((inner, package)) if base
    ]
    names = [
        *([(wsgi.rpartition(".")[0], "wsgi")] if wsgi else []),
        *([(asgi.rpartition(".")[0], "asgi")] if asgi else []),
    ]
    for dotted, kind in [*names, *guesses]:
        file = repo.modules.find(dotted, root)
        if not file:
            continue
        attribute = (wsgi if kind == "wsgi" else asgi).rpartition(".")[2] or "application"
        facts = repo.facts(file)
        line = facts.assigned[attribute][0].lineno if attribute in facts.assigned else 1
        framework = APP_CLASSES[f"django.core.{kind}.get_{kind}_application"]
        made = launch.app_object(repo, file, apps.App(attribute, framework, line))
        made = replace(
            made, argv=_at_root(made.argv, dotted, attribute, kind), env={"PYTHONPATH": f"/app/{root}"} if root else {}
        )
        return Hit(
            replace(made, install=False),
            f"{path} belongs to Django, and {file} holds its application",
            f"{file}:{line}",
        )
    return Miss(f"{path} belongs to Django, but no wsgi.py or asgi.py of `{settings or 'its settings'}` is there")


def _not_alone(repo: Repo, root: str) -> None:
    """Refuse a Django project in a folder beside other projects, or beside a server that is no part of it."""
    if repo.subprojects():
        raise foreign.monorepo(repo, [root, *repo.subprojects()])
    found = servers.find(repo)
    others = [made.path for made in [*found.runs, *found.holds] if not made.path.startswith(root + "/")]
    if others and not any(claim.path.startswith(root + "/") for claim in witness.claims(repo)):
        raise DetectError(
            "ambiguous",
            f"{root} is a Django project, and {listed(others)} serves beside it",
            hint=f"set `path: {root}`, or name the other with `entrypoint: {others[0]}`",
            candidates=[root, *others],
            evidence=f"{others[0]}:1",
        )


def _at_root(argv: tuple[str, ...], dotted: str, attribute: str, kind: str) -> tuple[str, ...]:
    """The application is named from the folder of manage.py, whatever packages lie above it."""
    spec = f"{dotted}:{attribute}"
    return tuple(spec if re.fullmatch(r"[\w.]+:\w+", word) and not word[0].isdigit() else word for word in argv)


def _settings_name(repo: Repo, path: str) -> str:
    facts = repo.facts(path)
    module = ast.parse(facts.text.removeprefix("\ufeff"))
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and any(
            isinstance(a, ast.Constant) and a.value == "DJANGO_SETTINGS_MODULE" for a in node.args
        ):
            for arg in node.args[1:]:
                for inner in ast.walk(arg):
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and "." in inner.value:
                        return inner.value
    match = re.search(r"DJANGO_SETTINGS_MODULE[\"']?\]?\s*[=,]\s*[\"']([\w.]+)[\"']", facts.text)
    return match.group(1) if match else ""


def _settings_text(repo: Repo, settings: str, root: str) -> str:
    file = repo.modules.find(settings, root)
    if not file:
        return ""
    texts = [repo.tree.text(file) or ""]
    folder = file.rpartition("/")[0]
    if settings.count(".") > 1 or file.endswith("__init__.py"):
        texts += [
            repo.tree.text(p) or "" for p in (f"{folder}/base.py", f"{folder}/common.py", f"{folder}/settings.py")
        ]
    return "\n".join(texts)


def _setting(text: str, name: str) -> str:
    match = re.search(rf"^\s*{name}\s*=\s*[\"']([\w.]+)[\"']", text, re.MULTILINE)
    return match.group(1) if match else ""


def root_named(repo: Repo) -> Outcome:
    """Names at the root that say "this starts it"; last the file that is named like the project."""
    named = [f"{name}.py" for name in repo.names()]
    for name in [*ROOT_NAMES, *named]:
        if repo.tree.has(name):
            made = launch.start_file(repo, name)
            if made and name == "manage.py" and made.kind != "server":
                continue
            if made and (made.strong or name in named or name in _SAY_IT):
                return Hit(made, f"{name} at the root {made.why}", made.evidence)
    return Miss("no server.py, run.py, start.py, bot.py … at the root that starts something")


def server_module(repo: Repo) -> Outcome:
    """The one module of the project that serves when it is run, or the one that holds an application."""
    found = servers.find(repo)
    runs, holds = found.runs, found.holds
    if len(runs) == 1 and any(servers.strangers(repo, runs[0].path, item.path) for item in holds):
        runs, holds = [], [*runs, *holds]  # a server beside an application that it does not serve: neither is the one
    for group, what in ((runs, "serves when it is run"), (holds, "holds an application")):
        distinct = [item for item in group if not servers.second_name(repo, item, group)]
        if found.broken and distinct and group is holds:
            repo.facts(found.broken)  # it may be what serves the application; half a program is no answer
        if len(distinct) == 1:
            made = distinct[0]
            return Hit(made, f"{made.path} is the one module that {what}: it {made.why}", made.evidence)
        if distinct:
            known = witness.named(repo, distinct)
            if known:
                made, where = known
                return Hit(made, f"of {len(distinct)} modules that serve {where} starts {made.path}", made.evidence)
            names = [item.path for item in distinct]
            repo.notes["server-module"] = names
            return Miss(f"several modules serve: {', '.join(names[:6])}")
    return Miss("no module of the project serves")


_PLACES = ("main", "app", "server", "asgi", "wsgi", "api", "run", "application", "__init__")


def package_app(repo: Repo) -> Outcome:
    """An application at one of the usual places inside a package.

    With several modules that serve, the project's own package and ``app`` still say enough; other folders only when
    all of those modules are in them.
    """
    serving = repo.notes.get("server-module", [])
    sure = [*repo.names(), "app", *(f"src/{name}" for name in [*repo.names(), "app"])]
    others = ["src", "api", "backend", "server", "web", "service"]
    others += [f"src/{name}" for name in repo.tree.children("src")]
    for root in dict.fromkeys([*sure, *others]):
        if root not in sure and not all(path.startswith(root + "/") for path in serving):
            continue
        for stem in _PLACES:
            path = f"{root}/{stem}.py"
            if not repo.tree.has(path) or not own(repo, path) or repo.tree.secondary(path):
                continue
            made = None if repo.modules.facts(path).error else launch.start_file(repo, path)
            if made and made.kind == "server":
                return Hit(made, f"{path} {made.why}", made.evidence)
    return Miss("no app/main.py, create_app() … in the usual places")
