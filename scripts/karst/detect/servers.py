"""The modules of a project that serve: found once, asked by several rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast

from karst.detect import launch
from karst.detect.declared import own
from karst.detect.launch import Launch
from karst.detect.repo import Repo

_HINT = re.compile(
    r"__main__|FastAPI|Flask|Starlette|Sanic|Quart|aiohttp|[Bb]ottle|[Dd]ash|[Ff]alcon|[Ll]itestar|[Tt]ornado|streamlit|gradio"
    r"|uvicorn|application|nicegui|serve_forever|cherrypy|hug|wsgi|asgi|start_response|FastHTML|shiny|chainlit|\.run\("
)


@dataclass
class Servers:
    """Modules that serve when they are run, modules that hold an application, and the first that does not parse."""

    runs: list[Launch] = field(default_factory=list)
    holds: list[Launch] = field(default_factory=list)
    broken: str = ""


def find(repo: Repo) -> Servers:
    """Every module of the project at the root that serves."""
    key = ("servers",)
    if key not in repo.modules.memo:
        repo.modules.memo[key] = _find(repo)
    return cast(Servers, repo.modules.memo[key])


def _find(repo: Repo) -> Servers:
    found = Servers()
    for path in repo.tree.python_files(scan=True):
        text = repo.tree.text(path) or ""
        if not own(repo, path) or path.count("/") > 4 or not _HINT.search(text):
            continue
        if repo.modules.facts(path).error:
            found.broken = found.broken or path
            continue
        made = launch.start_file(repo, path)
        if made and made.kind == "server":
            (found.holds if made.how in ("uvicorn", "gunicorn", "sanic", "dash") else found.runs).append(made)
    return found


def strangers(repo: Repo, one: str, other: str) -> bool:
    """Whether neither of two files imports the other."""
    return other not in repo.modules.closure(one) and one not in repo.modules.closure(other)


def factory_of(item: Launch, group: list[Launch]) -> bool:
    """A package's ``__init__`` that only re-exports the object of another candidate is not a second server."""
    if not item.path.endswith("/__init__.py"):
        return False
    folder = item.path.rpartition("/")[0]
    return any(other.path.startswith(folder + "/") and other is not item for other in group)
