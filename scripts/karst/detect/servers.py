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


_SPEC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?")


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
        if made and made.kind == "server" and not streamlit_page(made):
            (found.holds if made.how in ("uvicorn", "gunicorn", "sanic", "dash") else found.runs).append(made)
    return found


def strangers(repo: Repo, one: str, other: str) -> bool:
    """Whether neither of two files imports the other."""
    return other not in repo.modules.closure(one) and one not in repo.modules.closure(other)


def streamlit_page(made: Launch) -> bool:
    """Whether a Streamlit script is a page of the one in the folder above, which Streamlit finds by itself."""
    return made.how == "streamlit" and made.path.split("/")[-2:-1] == ["pages"]


def second_name(repo: Repo, item: Launch, group: list[Launch]) -> bool:
    """Whether a module only has another candidate's object under a second name: it is not a second server."""
    if any(_origin(repo, item) == other.path for other in group if other is not item):
        return True
    if any(_origin(repo, other) == item.path for other in group if other is not item):
        return False
    folder = item.path.rpartition("/")[0]  # a package's ``__init__`` that makes what a module of the package completes
    inside = any(other.path.startswith(folder + "/") and other is not item for other in group)
    return item.path.endswith("/__init__.py") and inside


def _origin(repo: Repo, made: Launch) -> str:
    """The file that a module imports the object from that would be served, or ""."""
    facts = repo.modules.facts(made.path)
    name = next((word.rpartition(":")[2].removesuffix("()") for word in made.argv if _SPEC.fullmatch(word)), "")
    origin = repo.modules.imported_from(facts, name) if name and name not in facts.assigned else None
    return origin[0] if origin else ""
