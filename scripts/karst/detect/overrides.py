"""A. What somebody has said outright: the list, the ENTRYPOINT variable, a label, a Procfile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from karst.detect import commands, dockerfile, targets
from karst.detect.commands import NeedsShell
from karst.detect.repo import Hit, Miss, Outcome, Repo


def from_list(repo: Repo) -> Outcome:
    """``entrypoint:`` of the list."""
    if not repo.entrypoint:
        return Miss("no `entrypoint:` is given")
    return _said(repo, repo.entrypoint, "entrypoint:", "`entrypoint:`")


def from_variable(repo: Repo) -> Outcome:
    """The variable ENTRYPOINT: of the service's `env:`, else of the process."""
    if not repo.variable or not repo.variable.strip():
        return Miss("the variable ENTRYPOINT is not set")
    source = repo.variable_source or "the environment"
    return _said(repo, repo.variable, f"ENTRYPOINT in {source}", f"the variable ENTRYPOINT of {source}")


def from_label(repo: Repo) -> Outcome:
    """``LABEL ENTRYPOINT="module:function"`` in the Dockerfile at the root."""
    found = dockerfile.read(repo.tree)
    if found is None:
        return Miss("there is no Dockerfile at the root")
    if found.label is None:
        return Miss(f"{found.path} has no LABEL ENTRYPOINT")
    value, line = found.label
    where = f"{found.path}:{line}"
    if not value.strip() or "$" in value:
        raise targets.bad(f"the label ENTRYPOINT at {where} is not a plain value: `{value}`", evidence=where)
    return _said(repo, value, where, f"the label ENTRYPOINT at {where}")


def _said(repo: Repo, text: str | Sequence[str], evidence: str, where: str) -> Hit:
    if not isinstance(text, str):
        command = commands.words([str(word) for word in text])
        made = targets.from_command(repo, command, where)
        return Hit(made, f"{where} gives the command", evidence, "certain", args_given=True)
    value = text.strip()
    if not re.search(r"\s", value):
        made = targets.by_name(repo, value, where)
        return Hit(made, f"{where} says `{value}`", evidence, "certain")
    try:
        command = commands.parse(value)
    except NeedsShell as err:
        raise targets.bad(
            f"{where} needs a shell because of {err}, and the kit starts programs without one",
            "put it into a script of the repository and name that, or give one plain command",
            evidence,
        ) from None
    if command.before or command.folder:
        raise targets.bad(f"{where} is more than one command: `{value}`", "give one plain command", evidence)
    return Hit(
        targets.from_command(repo, command, where), f"{where} says `{value}`", evidence, "certain", args_given=True
    )


_PROCESS = re.compile(r"\A\s*web\s*:\s*(\S.*?)\s*\Z")


def from_procfile(repo: Repo) -> Outcome:
    """``web:`` of the Procfile, split without a shell."""
    text = repo.tree.text("Procfile")
    if text is None:
        return Miss("there is no Procfile")
    for number, line in enumerate(text.splitlines()[:2000], 1):
        match = _PROCESS.match(line)
        if not match:
            continue
        where = f"Procfile:{number}"
        if not repo.tree.python_folders and not repo.tree.python_files():
            return Miss(f"{where} starts a program that is not Python")
        try:
            command = commands.parse(match.group(1))
        except NeedsShell as err:
            raise targets.bad(
                f"{where} needs a shell because of {err}, and the kit starts programs without one",
                "give the last command of that line as `entrypoint:`",
                where,
            ) from None
        if command.argv[0] in commands.FOREIGN and repo.manifest.declared:
            return Miss(f"{where} starts `{command.argv[0]}`, which is no Python program")
        made = targets.from_command(repo, command, where)
        reason = f"{where} declares the web process"
        if command.before:
            reason += f"; what it does before that is left out: {' ; '.join(f'`{step}`' for step in command.before)}"
        return Hit(replace(made, kind="server"), reason, where, "certain", args_given=True)
    return Miss("the Procfile has no web process")
