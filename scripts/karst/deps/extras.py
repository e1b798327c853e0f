"""Extras that an entry point needs: those it names, and those whose packages its own imports ask for.

Many projects put their server behind an extra (``pip install project[server]``) and start it with a script that names
none. Which one is no guess: the entry's modules import, at the top and without a ``try``, a package that the project
lists only under that extra. Read by AST; nothing is imported.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from karst.deps.pep508 import normal
from karst.deps.requirements_txt import NOT_FOR_RUNNING
from karst.deps.tree import Tree

MAX_MODULES = 300
# Import name → distribution, where they differ by more than case and dashes.
DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "corsheaders": "django-cors-headers",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "git": "gitpython",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "multipart": "python-multipart",
    "openssl": "pyopenssl",
    "pil": "pillow",
    "rest-framework": "djangorestframework",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "socketio": "python-socketio",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


def named(target: str) -> frozenset[str]:
    """Extras that a console script names: ``pkg.cli:main [server, tls]``."""
    match = re.search(r"\[([^\]]*)\]", target)
    return frozenset(part.strip() for part in match.group(1).split(",") if part.strip()) if match else frozenset()


def lines(optional: Mapping[str, Iterable[str]], extras: Iterable[str], name: str) -> list[str]:
    """The requirements of ``extras``; one that refers to the project's own extras (``name[other]``) is opened up."""
    found: list[str] = []
    todo, seen = sorted(extras), set()
    by_name = {normal(key): value for key, value in optional.items()}
    while todo:
        extra = normal(todo.pop(0))
        if extra in seen:
            continue
        seen.add(extra)
        for line in by_name.get(extra, []):
            own = re.fullmatch(r"\s*([A-Za-z0-9][\w.-]*)\s*\[([^\]]*)\]\s*", str(line))
            if own and name and normal(own.group(1)) == normal(name):
                todo += [part.strip() for part in own.group(2).split(",")]
            else:
                found.append(str(line))
    return found


def needed(
    tree: Tree, entry: str, requires: Iterable[str], optional: Mapping[str, Iterable[str]], name: str
) -> dict[str, str]:
    """Extra → ``file:line`` of the import that asks for it. ``entry`` is a dotted module or a file of the tree."""
    have = {_distribution(line) for line in requires}
    offers = {
        extra: {_distribution(line) for line in lines(optional, [extra], name)} - have
        for extra in optional
        if not NOT_FOR_RUNNING.search(extra)
    }
    offered = set().union(*offers.values()) if offers else set()
    if not offered:
        return {}
    wanted = {dist: where for dist, where in _imports(tree, entry).items() if dist in offered}
    chosen: dict[str, str] = {}
    while wanted:
        best = min(offers, key=lambda extra: (-len(offers[extra] & set(wanted)), len(offers[extra]), extra))
        answered = offers[best] & set(wanted)
        chosen[best] = min(wanted[dist] for dist in answered)
        wanted = {dist: where for dist, where in wanted.items() if dist not in answered}
    return chosen


def _distribution(requirement: str) -> str:
    return normal(re.split(r"[\s\[<>=!~;@(]", requirement.strip(), maxsplit=1)[0])


def _imports(tree: Tree, entry: str) -> dict[str, str]:
    """Distributions that the entry's modules import when they are loaded, each with the first place."""
    roots = [root for root in ("", "src") if not root or tree.is_dir(root)]
    queue = [entry] if entry.endswith(".py") else [path for root in roots for path in _files(tree, root, entry)]
    seen: set[str] = set()
    found: dict[str, str] = {}
    while queue and len(seen) < MAX_MODULES:
        path = queue.pop(0)
        if path in seen:
            continue
        seen.add(path)
        try:
            body = ast.parse(tree.text(path) or "").body
        except (SyntaxError, ValueError, RecursionError):
            continue
        for module, line in _loaded(body, path):
            own = [name for root in roots for name in _files(tree, root, module)]
            queue += own
            top = module.split(".")[0]
            if not own and top and top not in sys.stdlib_module_names:
                dist = normal(top)
                found.setdefault(DISTRIBUTIONS.get(dist, dist), f"{path}:{line}")
    return found


def _files(tree: Tree, root: str, module: str) -> list[str]:
    """The files that importing ``module`` loads, as far as they are in the tree."""
    parts = module.split(".")
    found = []
    for end in range(1, len(parts) + 1):
        stem = posixpath.join(root, *parts[:end])
        found += [path for path in (f"{stem}/__init__.py", f"{stem}.py") if tree.is_file(path)][:1]
    return found


def _loaded(body: list[ast.stmt], path: str) -> Iterator[tuple[str, int]]:
    """(module, line) of the imports that run unconditionally; ``from a import b`` gives ``a`` and ``a.b``."""
    package = posixpath.dirname(path).removeprefix("src/").replace("/", ".")
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names if alias.name != "*")
