"""What Terraform recorded of a stack, wherever its root keeps that: a file here, or another backend."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from karst.errors import KarstError
from karst.events import Events
from karst.stack import Stack


@contextlib.contextmanager
def copy(stack: Stack) -> Iterator[Path]:
    """A file with the state: its own, or a copy of one elsewhere that is gone afterwards. KarstError without an answer.

    The file does not exist where nothing was deployed yet.
    """
    if not stack.remote_state:
        yield stack.state_file
        return
    text = pull(stack)
    with tempfile.TemporaryDirectory(prefix="karst-") as folder:  # the owner's alone: it holds the values of `env:`
        path = Path(folder) / "state"
        if text:
            path.write_text(text)
        yield path


def pull(stack: Stack) -> str:
    """The state as text; "" where nothing was deployed yet."""
    from karst.terraform import Terraform

    if not stack.remote_state:
        try:
            return stack.state_file.read_text()
        except FileNotFoundError:
            return ""
    return Terraform(stack, Events()).state_pull()


def push(stack: Stack, text: str) -> None:
    """Make ``text`` the state of a stack that has none; KarstError when it has one."""
    from karst.files import write_atomic
    from karst.terraform import Terraform

    if exists(stack):
        raise KarstError(
            f"stack `{stack.name}` has a state already",
            hint="`iac destroy` ends it",
            code="state_exists",
        )
    if not stack.remote_state:
        write_atomic(stack.state_file, text, mode=0o600)
        return
    with tempfile.TemporaryDirectory(prefix="karst-") as folder:
        path = Path(folder) / "state"
        path.touch(mode=0o600)
        path.write_text(text)
        Terraform(stack, Events()).state_push(path)


def exists(stack: Stack) -> bool:
    """Whether anything is recorded."""
    if not stack.remote_state:
        return stack.state_file.exists() and os.path.getsize(stack.state_file) > 0
    text = pull(stack)
    return bool(text) and bool(json.loads(text).get("resources"))
