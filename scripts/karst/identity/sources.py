"""Where the values of an app's secrets come from: the environment, a folder of files, or a command that prints them."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from karst.errors import KarstError

FOLDER, COMMAND = "KARST_APP_SECRETS", "KARST_APP_SECRETS_COMMAND"
_SECONDS = 60


def find(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The values of ``names`` that there are; an empty one counts as none.

    First the environment itself; then the files of the folder that KARST_APP_SECRETS names, one for each; then what the
    command KARST_APP_SECRETS_COMMAND prints, a JSON object. It is run only when a name is still missing.
    Raises KarstError when folder or command cannot be used; never with a value in it.
    """
    wanted = set(names)
    found = {name: environ[name] for name in wanted if environ.get(name)}
    if environ.get(FOLDER):
        found |= _files(Path(environ[FOLDER]).expanduser(), wanted - found.keys())
    if environ.get(COMMAND) and wanted - found.keys():
        printed = _printed(environ[COMMAND], environ)
        found |= {name: printed[name] for name in wanted - found.keys() if printed.get(name)}
    return found


def _files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            value = (folder / name).read_bytes().decode(errors="surrogateescape")
        except FileNotFoundError:
            continue
        except OSError as err:
            raise KarstError(f"cannot read the secret {folder / name}: {err.strerror}", code="secret_source") from err
        if value:
            found[name] = value
    return found


def _printed(command: str, environ: Mapping[str, str]) -> dict[str, str]:
    words = shlex.split(command)
    try:
        # Its own words on stderr are for people, and are not ours to repeat: they may hold what it was asked for.
        done = subprocess.run(words, env=dict(environ), stdout=subprocess.PIPE, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise KarstError(f"{COMMAND} did not end within {_SECONDS} s", code="secret_source") from None
    except (OSError, ValueError, IndexError) as err:
        raise KarstError(f"{COMMAND} cannot be run: {err}", code="secret_source") from None
    if done.returncode != 0:
        raise KarstError(
            f"{COMMAND} ended with exit code {done.returncode}",
            hint=f"run it by hand: {words[0]} …",
            code="secret_source",
        )
    try:
        printed = json.loads(done.stdout)
    except (ValueError, RecursionError):
        printed = None
    if not isinstance(printed, dict) or not all(isinstance(value, str) for value in printed.values()):
        raise KarstError(
            f"{COMMAND} did not print a JSON object whose values are strings",
            hint='for example {"DATABASE_PASSWORD": "…"}, as `sops decrypt --output-type json FILE` does',
            code="secret_source",
        )
    return printed
