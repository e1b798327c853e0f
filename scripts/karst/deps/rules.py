"""One rule per kind of file: from a repository's facts to a plan, or None when the file is not there."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from karst.deps import extras, lockfile, pdm, pipenv, poetry, requirements_txt
from karst.deps import project as projects
from karst.deps.model import APP, DEPS, Command, Plan
from karst.deps.pep508 import normal, parse
from karst.deps.project import Project
from karst.deps.tree import Tree

INSTALL: Command = ("uv", "pip", "install")


@dataclass(frozen=True)
class Request:
    """What the choice depends on, besides the files.

    Attributes:
        argv, launch: the detected command and how it starts (``console-script``, ``module``, ``file`` …).
        install: the command only exists once the project is installed, so a failing install is an error.
        python: the image's Python ("3.11"), "" when not known.
        ref, revision: for projects that take their version from git.
    """

    source: Path
    argv: tuple[str, ...] = ()
    launch: str = ""
    install: bool = False
    python: str = ""
    ref: str = ""
    revision: str = ""

    @property
    def script(self) -> str:
        return posixpath.basename(self.argv[0]) if self.argv else ""

    @property
    def entry(self) -> str:
        """The entry's file or dotted module, "" when the command does not show it."""
        if self.argv[1:2] == ("-m",):
            return self.argv[2] if len(self.argv) > 2 else ""
        objects = (word for word in self.argv[1:] if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.()]*", word))
        return self.entry_file or next(objects, "").split(":")[0]

    @property
    def entry_file(self) -> str:
        """The entry's file relative to the source, "" when the entry is not a file."""
        for word in self.argv[1:2]:
            if word.endswith(".py"):
                return word.removeprefix(APP + "/")
        return ""


@dataclass(frozen=True)
class Facts:
    """What every rule looks at; ``extras`` are those that the entry point needs."""

    request: Request
    tree: Tree
    project: Project
    extras: frozenset[str]


def uv_lock(facts: Facts) -> Plan | None:
    """uv reads its own lock, in two steps: everything but what is in the repository, then that."""
    if not (facts.tree.is_file("uv.lock") and facts.tree.is_file("pyproject.toml")):
        return None
    sync: Command = ("uv", "sync", "--frozen", "--inexact", "--no-dev")
    for extra in sorted(facts.extras):
        sync += ("--extra", extra)
    if "workspace" in facts.tree.toml("pyproject.toml").get("tool", {}).get("uv", {}):
        sync += ("--all-packages",)
    whole = sync if facts.project.editable else (*sync, "--no-editable")
    text = facts.tree.text("uv.lock") or ""
    inside = facts.project.installable or re.search(r'source = \{ (?:editable|directory|virtual|path) = "(?!\.")', text)
    return Plan(
        kind="uv.lock",
        reason="uv.lock pins everything, and uv installs it as it is",
        evidence="uv.lock",
        manifests=tuple(name for name in ("pyproject.toml", "uv.lock", "uv.toml") if facts.tree.is_file(name)),
        install=((*sync, "--no-install-local", "--project", DEPS),),
        project=((*whole, "--project", APP),) if inside else (),
        apt=_git_needed(text),
    )


def poetry_lock(facts: Facts) -> Plan | None:
    """Poetry's main group, pinned."""
    pyproject = facts.tree.toml("pyproject.toml")
    roots = poetry.root_edges(pyproject, facts.extras)
    if not facts.tree.is_file("poetry.lock") or not (
        pyproject.get("tool", {}).get("poetry") or pyproject.get("project")
    ):
        return None
    pins = poetry.lock_pins(facts.tree.toml("poetry.lock"), pyproject, facts.extras, facts.request.python)
    return _locked(facts, "poetry.lock", pins, [edge.name for edge in roots if not edge.marker])


def pdm_lock(facts: Facts) -> Plan | None:
    """PDM's default group, pinned."""
    if not facts.tree.is_file("pdm.lock"):
        return None
    table = facts.tree.toml("pyproject.toml").get("project", {})
    pins = pdm.lock_pins(facts.tree.toml("pdm.lock"), table, facts.extras, facts.request.python)
    unconditional = [line for line in facts.project.requires or [] if ";" not in line]
    return _locked(facts, "pdm.lock", pins, [name for line in unconditional if (name := _name(line))])


def pipfile_lock(facts: Facts) -> Plan | None:
    """Pipenv's default section, pinned."""
    if not facts.tree.is_file("Pipfile.lock"):
        return None
    return _locked(facts, "Pipfile.lock", pipenv.lock_pins(facts.tree.json("Pipfile.lock"), facts.request.python), [])


def pylock(facts: Facts) -> Plan | None:
    """The standard lock file, which uv reads."""
    if not facts.tree.is_file("pylock.toml"):
        return None
    return Plan(
        kind="pylock.toml",
        reason="pylock.toml (PEP 751) pins everything, and uv installs it as it is",
        evidence="pylock.toml",
        manifests=("pylock.toml",),
        install=((*INSTALL, "--no-deps", "-r", f"{DEPS}/pylock.toml"),),
        apt=_git_needed(facts.tree.text("pylock.toml") or ""),
    )


def _locked(facts: Facts, name: str, pins: list[lockfile.Pin], roots: list[str]) -> Plan:
    """Pins from a foreign lock, as a requirements file with hashes."""
    outside = [pin for pin in pins if not pin.package.local]
    local = [pin.package.local for pin in pins if pin.package.local]
    have = {normal(pin.package.name) for pin in pins}
    missing = sorted({root for root in roots if normal(root) not in have})
    options: Command = ("--no-deps",)
    if all(pin.package.hashes and not pin.package.url for pin in outside):
        options += ("--require-hashes",)
    for index in lockfile.indexes(outside):
        # Safe although it looks at every index: the hashes say which file is meant.
        options += ("--extra-index-url", index, "--index-strategy", "unsafe-best-match")
    text = lockfile.requirements(outside)
    files = {"requirements.txt": text}
    install: list[Command] = [(*INSTALL, *options, "-r", f"{DEPS}/requirements.txt")]
    notes: tuple[str, ...] = ()
    if missing:
        wanted = [line for line in facts.project.requires or [] if _name(line) in {normal(root) for root in missing}]
        files["missing.txt"] = "".join(f"{line}\n" for line in sorted(wanted))
        install.append((*INSTALL, "-r", f"{DEPS}/missing.txt"))
        notes = (
            f"{name} is older than pyproject.toml: {', '.join(missing)} is not in it and is installed without a pin",
        )
    return Plan(
        kind=name,
        reason=f"{name} pins everything; its entries are installed with their hashes",
        evidence=name,
        files=files,
        install=tuple(install),
        project=_local_commands(facts, local, deps=False)[0],
        apt=_git_needed(text),
        notes=notes,
    )


def requirements(facts: Facts) -> Plan | None:
    """The list for running, and after it what the project's own metadata asks for besides."""
    near = posixpath.dirname(facts.request.entry_file)
    path = requirements_txt.find(facts.tree, near)
    if not path:
        return None
    found = requirements_txt.read(facts.tree, path)
    notes, manifests = list(found.notes), []
    for folder in found.folders:
        if facts.tree.is_dir(folder):
            manifests.append(folder)
            found.options.append(f"--find-links {DEPS}/{folder}")
    files = {"requirements.txt": found.text()}
    command: Command = (
        *INSTALL,
        *(("--prerelease", "allow") if found.prerelease else ()),
        "-r",
        f"{DEPS}/requirements.txt",
    )
    if found.constraints:
        files["constraints.txt"] = "".join(f"{line}\n" for line in found.constraints)
        command += ("-c", f"{DEPS}/constraints.txt")
    install = [command] if found.lines else []
    own = [item for item in found.local if item.split("[")[0] == "."]
    others = [item for item in found.local if item not in own]
    commands, lines, complete = _local_commands(facts, others, deps=True)
    if not found.hashed:
        requires = facts.project.requires if facts.project.installable else []
        for item in own:
            wanted = re.findall(r"[\w.-]+", item.partition("[")[2])
            lines += extras.lines(facts.project.optional, wanted, facts.project.name)
        complete = complete and requires is not None
        lines += requires or []
    if lines:
        files["project.txt"] = "".join(f"{line}\n" for line in dict.fromkeys(lines))
        install.append(
            (*INSTALL, *(("-c", f"{DEPS}/constraints.txt") if found.constraints else ()), "-r", f"{DEPS}/project.txt")
        )
    return Plan(
        kind="requirements",
        reason=f"{path} lists what to install" + (" with hashes" if found.hashed else ""),
        evidence=path,
        manifests=tuple(manifests),
        files=files,
        install=tuple(install),
        project=commands,
        complete=complete,
        apt=_git_needed(*files.values()),
        notes=tuple(notes),
    )


def pipfile(facts: Facts) -> Plan | None:
    """A Pipfile that nobody locked."""
    if not facts.tree.is_file("Pipfile"):
        return None
    table = facts.tree.toml("Pipfile")
    lines, local = pipenv.requirement_lines(table)
    commands, more, complete = _local_commands(facts, local, deps=True)
    options = [f"--extra-index-url {url}" for url in pipenv.extra_indexes(table)]
    text = "".join(f"{line}\n" for line in [*options, *lines, *more])
    return Plan(
        kind="Pipfile",
        reason="Pipfile lists what to install, and there is no Pipfile.lock",
        evidence="Pipfile",
        files={"requirements.txt": text},
        install=((*INSTALL, "-r", f"{DEPS}/requirements.txt"),),
        project=commands,
        complete=complete,
        apt=_git_needed(text),
    )


def metadata(facts: Facts) -> Plan | None:
    """pyproject.toml, setup.cfg or setup.py: what they list, or when they compute it, what building tells."""
    project = facts.project
    if not project.has_metadata:
        return None
    base = Plan(
        kind="pyproject" if project.evidence == "pyproject.toml" else "setup",
        reason=f"{project.evidence} says what the project needs",
        evidence=project.evidence,
    )
    if project.requires is None:
        return replace(
            base, complete=False, reason=f"{project.evidence} computes what the project needs, so building it tells"
        )
    if project.uv_native and facts.tree.is_file("pyproject.toml"):
        command: Command = (*INSTALL, "-r", f"{DEPS}/pyproject.toml")
        for extra in sorted(facts.extras):
            command += ("--extra", extra)
        text = facts.tree.text("pyproject.toml") or ""
        return replace(base, manifests=("pyproject.toml",), install=(command,), apt=_git_needed(text))
    commands, more, complete = _local_commands(facts, list(project.local), deps=True)
    text = "".join(f"{line}\n" for line in [*project.requires, *more])
    install = ((*INSTALL, "-r", f"{DEPS}/requirements.txt"),) if text else ()
    files = {"requirements.txt": text} if text else {}
    return replace(base, files=files, install=install, project=commands, complete=complete, apt=_git_needed(text))


def inline(facts: Facts) -> Plan | None:
    """PEP 723: a ``# /// script`` block in the entry file."""
    path = facts.request.entry_file
    match = (
        re.search(r"^# /// script\s*$\n((?:^#(?:| .*)$\n)+?)^# ///\s*$", (facts.tree.text(path) or "") + "\n", re.M)
        if path
        else None
    )
    if match is None:
        return None
    try:
        block = tomllib.loads("\n".join(line[2:] for line in match.group(1).splitlines()))
    except tomllib.TOMLDecodeError:
        return None
    text = "".join(f"{line}\n" for line in block.get("dependencies", []))
    return Plan(
        kind="inline",
        reason=f"{path} says what it needs in its `# /// script` block",
        evidence=path,
        files={"requirements.txt": text},
        install=((*INSTALL, "-r", f"{DEPS}/requirements.txt"),) if text else (),
        apt=_git_needed(text),
    )


def nothing(facts: Facts) -> Plan:
    """No rule fits: the app gets the standard library."""
    conda = [name for name in ("environment.yml", "environment.yaml") if facts.tree.is_file(name)]
    notes = (f"{conda[0]} is for conda and is not read: add a requirements.txt",) if conda else ()
    return Plan(kind="none", reason="no file says what to install, so only the standard library is there", notes=notes)


def _local_commands(facts: Facts, folders: list[str], *, deps: bool) -> tuple[tuple[Command, ...], list[str], bool]:
    """Commands for folders of the repository; with ``deps`` also their requirements, and whether all are known."""
    commands, lines, complete = [], [], True
    for item in folders:
        path, _, picked = item.partition("[")
        path = posixpath.normpath(path)
        if path.startswith(("..", "/")) or facts.tree.path(path) is None:
            continue
        target = f"{APP}/{path}" + (f"[{picked}" if picked else "")
        if not facts.tree.is_dir(path):
            commands.append((*INSTALL, target) if deps else (*INSTALL, "--no-deps", target))
            complete = complete and not deps
            continue
        other = projects.read(Tree(facts.tree.root / path))
        known = other.requires is not None and not picked
        lines += (other.requires or []) if deps else []
        no_deps = ("--no-deps",) if known or not deps else ()
        complete = complete and (known or not deps)
        commands.append((*INSTALL, *no_deps, *(("--editable",) if other.editable else ()), target))
    return tuple(commands), lines, complete


def _git_needed(*texts: str) -> tuple[str, ...]:
    """Debian's git, only for the build stage, when a requirement comes from a git repository."""
    return ("ca-certificates", "git") if any(re.search(r"git\+|\bgit\s*=\s*\"", text) for text in texts) else ()


def _name(line: str) -> str:
    requirement = parse(line)
    return normal(requirement.name) if requirement else ""


# In this order: what is pinned, what is listed, what the metadata says.
RULES: tuple[Callable[[Facts], Plan | None], ...] = (
    uv_lock,
    poetry_lock,
    pdm_lock,
    pylock,
    pipfile_lock,
    requirements,
    pipfile,
    metadata,
    inline,
)
