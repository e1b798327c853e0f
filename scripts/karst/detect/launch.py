"""D. The second decision: how to start what was chosen (``python -m``, a file, a server for an object)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from karst.detect import apps, serves
from karst.detect import frameworks as fw
from karst.detect.apps import App
from karst.detect.facts import Facts, acts
from karst.detect.reach import Block, function_block, start_blocks
from karst.detect.result import PORT
from karst.detect.serves import Serve

if TYPE_CHECKING:
    from karst.detect.repo import Repo

APP = "/app"
TMP = "/tmp"  # noqa: S108 - the container's own tmpfs: its root file system is read-only # nosec B108
LOOPBACK = "127.0.0.1"  # the sidecar shares the network namespace: nothing else has to reach the app


@dataclass(frozen=True)
class Launch:
    """A start command and what it rests on.

    Attributes:
        how: the word for ``Detection.launch``.
        path, line: the file that is started and its telling line.
        start: the blocks of code that run first, for the questions "does it serve" and "does it need arguments".
        strong: True when the file itself says that it is started (a guard, a serving call, an application object).
    """

    argv: tuple[str, ...]
    how: str
    path: str
    line: int
    why: str
    kind: str = "unknown"
    port: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    start: tuple[Block, ...] = ()
    install: bool = False
    strong: bool = True

    @property
    def evidence(self) -> str:
        return f"{self.path}:{self.line}"


def start_file(repo: Repo, path: str) -> Launch | None:
    """How a file is started by itself; None when running it would only define things.

    Raises DetectError when the file does not parse.
    """
    facts = repo.facts(path)
    script = _script_runner(repo, facts)
    if script:
        return script
    top, *guarded = start_blocks(facts)
    serve = serves.serving(repo.modules, [top])
    guard_serve = serves.serving(repo.modules, guarded) if guarded else None
    usable = [app for app in apps.objects(repo.modules, facts) if app.framework.interface != "robyn"]
    if facts.guard and (guard_serve or serve or not usable):
        return _plain(repo, facts, facts.guard, 'has an `if __name__ == "__main__"`', guard_serve or serve)
    busy = next((node for node in facts.body if acts(node)), None)
    if serve:
        line = serve.line if serve.path == path else busy.lineno if busy else 1
        return _plain(repo, facts, line, f"calls {serve.what} when it is run", serve)
    if usable:
        return app_object(repo, path, usable[0])
    made = apps.factories(repo.modules, facts)
    if made:
        return app_object(repo, path, made[0])
    main = facts.functions.get("main")
    if main and not main.required() and not _calls_name(facts, "main"):
        return function(repo, path, "main")
    if busy is not None:
        launch = _plain(repo, facts, busy.lineno, "does its work when it is run", None)
        return replace(launch, strong=_calls_name(facts, "main") or _long_running(facts))
    return None


def _long_running(facts: Facts) -> bool:
    """True for bots and consumers: an object of theirs is made, and its ``run`` is called at module level."""
    made = {facts.qualified(call.func) for found in facts.bound.values() for call in found}
    return not fw.LONG_OWNERS.isdisjoint(made)


def _calls_name(facts: Facts, name: str) -> bool:
    for top in facts.body:
        for node in ast.walk(top):
            if isinstance(node, ast.Call) and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node)):
                return True
    return False


def _plain(repo: Repo, facts: Facts, line: int, why: str, serve: Serve | None) -> Launch:
    launch = run_path(repo, facts.path)
    return replace(
        launch,
        line=line,
        why=why,
        kind="server" if serve else "unknown",
        port=serve.port if serve else None,
        start=tuple(start_blocks(facts)),
    )


def run_path(repo: Repo, path: str) -> Launch:
    """``python -m`` when the file's imports need a folder above it, else ``python /app/file``."""
    root = repo.modules.import_root(path)
    folder = path.rpartition("/")[0]
    name = path.rpartition("/")[2]
    facts = repo.modules.facts(path)
    dotted = repo.modules.dotted(path, root)
    main = name == "__main__.py" and folder
    if dotted and (main or facts.relative or repo.modules.needs_root(path, root)):
        env, install = _root_env(repo, root)
        return Launch(("python", "-m", dotted), "module", path, 1, "", env=env, install=install)
    target = f"{APP}/{folder}" if main and not facts.relative else f"{APP}/{path}"
    return Launch(("python", target), "file", path, 1, "")


def _root_env(repo: Repo, root: str) -> tuple[dict[str, str], bool]:
    """The import path of a package that is not at the root: an installed project brings it, others need PYTHONPATH."""
    if not root:
        return {}, False
    if repo.manifest.installable and root in repo.manifest.package_roots:
        return {}, True
    return {"PYTHONPATH": f"{APP}/{root}"}, False


def module(repo: Repo, path: str, dotted: str, root: str) -> Launch:
    """``python -m dotted`` for a package's ``__main__.py``."""
    facts = repo.facts(path)
    start = tuple(start_blocks(facts))
    serve = serves.serving(repo.modules, list(start))
    env, install = _root_env(repo, root)
    return Launch(
        ("python", "-m", dotted),
        "module",
        path,
        facts.guard or 1,
        "",
        kind="server" if serve else "unknown",
        port=serve.port if serve else None,
        env=env,
        start=start,
        install=install,
    )


def function(repo: Repo, path: str, name: str) -> Launch:
    """Call one function: for a ``main`` that nothing calls, and for ``module:function`` overrides."""
    facts = repo.facts(path)
    root = repo.modules.import_root(path)
    dotted = repo.modules.dotted(path, root)
    target = facts.functions.get(name)
    head = name.split(".")[0]
    call = f"asyncio.run({name}())" if target and target.is_async else f"{name}()"
    imports = "import asyncio, sys" if target and target.is_async else "import sys"
    code = f"{imports}; from {dotted} import {head}; sys.exit({call})"
    start = (function_block(facts, target),) if target else ()
    serve = serves.serving(repo.modules, list(start)) if start else None
    env, install = _root_env(repo, root)
    return Launch(
        ("python", "-c", code),
        "function",
        path,
        target.line if target else 1,
        f"defines {name}() and calls it nowhere",
        kind="server" if serve else "unknown",
        port=serve.port if serve else None,
        env=env,
        start=start,
        install=install,
    )


def app_object(repo: Repo, path: str, app: App) -> Launch:
    """A server of the kit for an application object or factory."""
    root = repo.modules.import_root(path)
    dotted = repo.modules.dotted(path, root)
    if not dotted:
        root = path.rpartition("/")[0]
        dotted = repo.modules.dotted(path, root)
    what = f"{dotted}:{app.name}"
    noun = "factory" if app.factory else "application object"
    launch = Launch((), "", path, app.line, f"holds the {app.framework.name} {noun} `{app.name}`", kind="server")
    interface = app.framework.interface
    env, install = _root_env(repo, root)
    launch = replace(launch, env=env, install=install)
    if interface == fw.ASGI:
        argv = ["uvicorn", *(["--factory"] if app.factory else []), what, "--host", LOOPBACK, "--port", PORT]
        return replace(launch, argv=tuple(argv), how="uvicorn", packages=missing(repo, "uvicorn"))
    if interface == "sanic":
        argv = ["sanic", what, *(["--factory"] if app.factory else []), "--host", LOOPBACK, "--port", PORT]
        return replace(launch, argv=(*argv, "--single-process"), how="sanic")
    if interface == "dash":
        head = f"from {dotted} import {app.name}"
        target = f"{app.name}()" if app.factory else app.name
        code = f"import os; {head}; {target}.run(host='{LOOPBACK}', port=int(os.environ.get('PORT', '8050')))"
        return replace(launch, argv=("python", "-c", code), how="dash")
    if interface == "robyn":
        return replace(launch, argv=("python", f"{APP}/{path}"), how="file")
    worker = ["--worker-class", "aiohttp.GunicornWebWorker"] if interface == "aiohttp" else ["--threads", "4"]
    call = "()" if app.factory and interface != "aiohttp" else ""
    argv = ["gunicorn", "--bind", f"{LOOPBACK}:{PORT}", "--workers", "1", *worker, "--worker-tmp-dir", TMP]
    return replace(launch, argv=(*argv, what + call), how="gunicorn", packages=missing(repo, "gunicorn"))


def missing(repo: Repo, *names: str) -> tuple[str, ...]:
    """Those of the packages that the repository does not name itself."""
    return tuple(name for name in names if not repo.manifest.depends_on(name))


def _script_runner(repo: Repo, facts: Facts) -> Launch | None:
    """Files that are a script for their framework's own command."""
    path = f"{APP}/{facts.path}"
    line = 1
    for name in fw.SCRIPT_RUNNERS:
        if facts.imports(name):
            line = next(at for dotted, at in facts.imported.items() if dotted == name or dotted.startswith(name + "."))
            break
    else:
        return None
    if name == "streamlit":
        if "streamlit.web" in facts.text or "bootstrap" in facts.imported or not _uses(facts, "streamlit"):
            return None
        argv = ["streamlit", "run", path, "--server.port", PORT, "--server.address", LOOPBACK]
        argv += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    elif name == "chainlit":
        argv = ["chainlit", "run", path, "--headless", "--host", LOOPBACK, "--port", PORT]
    elif name == "panel":
        if ".servable(" not in facts.text:
            return None
        argv = ["panel", "serve", path, "--address", LOOPBACK, "--port", PORT]
    elif name == "shiny.express":
        argv = ["shiny", "run", "--host", LOOPBACK, "--port", PORT, path]
    elif name == "solara":
        if "Page" not in {*facts.functions, *facts.assigned}:
            return None
        argv = ["solara", "run", path, "--host", LOOPBACK, "--port", PORT, "--production"]
    else:
        if "@me.page" not in facts.text:
            return None
        argv = ["mesop", path, "--port", PORT]
    how = name.split(".")[0]
    return Launch(tuple(argv), how, facts.path, line, f"is a {how} script", kind="server")


def _uses(facts: Facts, package: str) -> bool:
    """True when the package's functions are called at module level, or by a main() that runs."""
    start = [*facts.body, *facts.guard_body]
    called = {node.func.id for node in _calls(start) if isinstance(node.func, ast.Name)}
    start += [facts.functions[name].node for name in sorted(called) if name in facts.functions]
    for node in _calls(start):
        if facts.qualified(node.func).startswith(package + "."):
            return True
    nested = [f.node for f in facts.functions.values()] if facts.guard_body or called else []
    return any(facts.qualified(node.func).startswith(package + ".") for node in _calls(nested))


def _calls(nodes: list[ast.stmt] | list[ast.FunctionDef | ast.AsyncFunctionDef]) -> list[ast.Call]:
    return [node for top in nodes for node in ast.walk(top) if isinstance(node, ast.Call)]
