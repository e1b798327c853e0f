"""B. Repositories that are not Python: run their ``main``, or say what was seen."""

from __future__ import annotations

import platform
import struct

from karst.detect.errors import DetectError, listed
from karst.detect.launch import APP, Launch
from karst.detect.repo import PROJECT_FILES, Hit, Miss, Outcome, Repo
from karst.detect.wordset import wordset

_MANIFESTS = {
    "go.mod": "Go",
    "package.json": "JavaScript",
    "Cargo.toml": "Rust",
    "pom.xml": "Java",
    "build.gradle": "Java",
    "build.gradle.kts": "Kotlin",
    "Gemfile": "Ruby",
    "composer.json": "PHP",
    "mix.exs": "Elixir",
    "CMakeLists.txt": "C or C++",
    "meson.build": "C or C++",
    "configure.ac": "C or C++",
    "Package.swift": "Swift",
    "pubspec.yaml": "Dart",
    "stack.yaml": "Haskell",
    "build.sbt": "Scala",
    "deno.json": "TypeScript",
    "shard.yml": "Crystal",
    "Project.toml": "Julia",
}
_LANGUAGES = {
    ".go": "Go", ".js": "JavaScript", ".mjs": "JavaScript", ".jsx": "JavaScript", ".ts": "TypeScript",
    ".tsx": "TypeScript", ".vue": "JavaScript", ".rs": "Rust", ".java": "Java", ".kt": "Kotlin", ".rb": "Ruby",
    ".php": "PHP", ".c": "C", ".cc": "C++", ".cpp": "C++", ".h": "C", ".hpp": "C++", ".cs": "C#", ".swift": "Swift",
    ".ex": "Elixir", ".exs": "Elixir", ".erl": "Erlang", ".hs": "Haskell", ".scala": "Scala", ".clj": "Clojure",
    ".lua": "Lua", ".pl": "Perl", ".pm": "Perl", ".sh": "shell", ".dart": "Dart", ".zig": "Zig", ".nim": "Nim",
    ".r": "R", ".jl": "Julia", ".m": "Objective-C", ".ml": "OCaml", ".tf": "Terraform", ".sol": "Solidity",
}  # fmt: skip
# A root file of these names says "this is a Python program" without any manifest.
_CONVENTIONAL = wordset("""
    main.py app.py __main__.py manage.py server.py run.py start.py bot.py wsgi.py asgi.py
    """)
_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 243: "riscv64"}
_INTERPRETERS = wordset("""
    sh bash dash perl python python3 python3.11 awk sed env
    """)


def gate(repo: Repo) -> Outcome:
    """A hit is the executable ``main``; a miss means "Python, go on". Raises DetectError (not_python) otherwise."""
    if is_python(repo):
        return Miss(f"Python: {repo.manifest.declared or _python_evidence(repo)}")
    problem = "there is no executable `main` at its root"
    if repo.tree.has("main"):
        ok, text = runnable(repo)
        if ok:
            made = Launch((f"{APP}/main",), "binary", "main", 1, text)
            return Hit(made, f"the repository is not Python, and its `main` is {text}", "main:1")
        problem = f"its `main` {text}"
    subprojects = repo.subprojects()
    files = [p for p in repo.tree.python_files() if repo.in_subproject(p)]
    helpers = len(files) < 3 and any(repo.tree.has(name) for name in _MANIFESTS)
    if subprojects and not helpers:  # one or two Python files in another language's project are a helper of its
        raise monorepo(repo, subprojects)
    seen = describe(repo)
    raise DetectError(
        "not_python",
        f"this is not a Python repository ({seen}), and {problem}",
        hint="put an executable named `main` at the root: a program for Linux, or a script with a `#!` line",
        evidence=_evidence(repo),
    )


def is_python(repo: Repo) -> bool:
    """Declared Python wins; otherwise a conventional file, otherwise what most of the source is."""
    if repo.manifest.declared:
        return True
    own = repo.tree.python_files()
    if not own:
        return False
    if any(repo.tree.has(name) for name in _CONVENTIONAL):
        return True
    if any(repo.tree.has(f"{name}/__main__.py") for name in repo.tree.children("")):
        return True
    suffixes = repo.tree.suffixes()
    others = sum(count for suffix, count in suffixes.items() if suffix in _LANGUAGES)
    weight = 1 if any(repo.tree.has(name) for name in _MANIFESTS) else 2
    return len(own) * weight >= others


def describe(repo: Repo) -> str:
    """What was seen: manifests of other languages, and the suffixes there are most of."""
    manifests = [f"{name} ({language})" for name, language in _MANIFESTS.items() if repo.tree.has(name)]
    counts = [
        f"{count} *{suffix} file{'s' if count > 1 else ''}"
        for suffix, count in sorted(repo.tree.suffixes().items(), key=lambda item: (-item[1], item[0]))
        if suffix in _LANGUAGES or suffix in (".ipynb", ".html", ".md", ".py", ".pyi")
    ]
    if not manifests and not counts:
        count = len(repo.tree.files)
        return f"seen: {count} file{'s' if count != 1 else ''}, none of them source" if count else "it is empty"
    return f"seen: {listed([*manifests, *counts[:3]])}"


def _evidence(repo: Repo) -> str:
    return next((f"{name}:1" for name in _MANIFESTS if repo.tree.has(name)), "")


def _python_evidence(repo: Repo) -> str:
    return next(iter(repo.tree.python_files()), "")


def monorepo(repo: Repo, folders: list[str], *, declared: bool = False) -> DetectError:
    """Several projects, or one that is not at the root: the user says which by ``path:``."""
    if len(folders) == 1:
        root = "nothing at the root starts" if declared else "the root is no Python project"
        message = f"{root}; its one project is in `{folders[0]}`"
        hint = f"set `path: {folders[0]}`"
    else:
        message = f"the repository holds several projects: {listed(folders)}"
        hint = f"set `path:` to the one to deploy, `path: {folders[0]}` for example"
    manifests = (f"{folder}/{name}" for folder in folders for name in (*PROJECT_FILES, "manage.py"))
    evidence = next((f"{path}:1" for path in manifests if repo.tree.has(path)), "")
    return DetectError("monorepo", message, hint=hint, evidence=evidence, candidates=folders)


def runnable(repo: Repo) -> tuple[bool, str]:
    """Whether the root's ``main`` can be started in the image, and what it is or why not."""
    entry = repo.tree.files["main"]
    head = repo.tree.head("main", 4096)
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
        names = [word.rpartition("/")[2] for word in words if not word.startswith("-")]
        program = names[1] if len(names) > 1 and names[0] == "env" else names[0] if names else ""
        if program not in _INTERPRETERS:
            return False, f"is a script for `{program}`, which the image does not have"
        if not entry.executable:
            return False, "is a script without the executable bit (git update-index --chmod=+x main)"
        return True, f"an executable {program} script"
    if not head.startswith(b"\x7fELF"):
        kind = {b"MZ": "a Windows program", b"\xcf\xfa": "a macOS program", b"\xca\xfe": "a macOS program"}.get(
            head[:2]
        )
        return False, (
            f"is {kind}, not one for Linux" if kind else "is neither a Linux program nor a script with a `#!` line"
        )
    if len(head) < 20:
        return False, "is a truncated ELF file"
    order = "<" if head[5:6] == b"\x01" else ">"
    kind_number, machine = struct.unpack(f"{order}HH", head[16:20])
    name, here = _MACHINES.get(machine, f"machine {machine}"), platform.machine().replace("arm64", "aarch64")
    if name != here.replace("AMD64", "x86_64"):
        return False, f"is a program for {name}, and this machine is {here}"
    if kind_number not in (2, 3):
        return False, "is an ELF file that is no program"
    if b"ld-musl" in head:
        return False, "is linked against musl, and the image has glibc: link it statically"
    if not entry.executable:
        return False, "has no executable bit (git update-index --chmod=+x main)"
    return True, f"a Linux program for {name}"
