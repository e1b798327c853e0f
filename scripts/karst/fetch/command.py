"""``scripts/fetch`` by hand: slugs or a list file as arguments, pretty JSON on stdout."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from karst.errors import Exit
from karst.external import guarded, serve
from karst.fetch import fetch_all, handle
from karst.manifest import Service, load_file, parse_list

_SUFFIXES = (".yaml", ".yml", ".json", ".tfvars")


def main(arguments: Sequence[str]) -> int:
    """Answer Terraform on stdin when there are no arguments; else fetch what they name."""
    # Terraform ends its externals with SIGTERM: then downloads stop and what they began is removed, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not arguments:
        return serve(handle)
    return guarded(lambda: _by_hand(arguments))


def _by_hand(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/fetch", description="Fetch repositories into the cache and print where they are."
    )
    parser.add_argument("what", nargs="+", metavar="SLUG|FILE", help="slugs, or one list (YAML, JSON, tfvars)")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="lock file to obey and to keep")
    parser.add_argument("--update", action="store_true", help="resolve every ref anew, whatever the lock file says")
    options = parser.parse_args(arguments)
    services, base_dir = _services(options.what)
    names = [service.name for service in services] if options.update else []
    fetched = fetch_all(services, base_dir, options.lock, update=names)
    json.dump({name: one.to_dict() for name, one in fetched.items()}, sys.stdout, indent=2, sort_keys=True)
    print()
    for name, one in fetched.items():
        for lacking in one.missing:
            print(f"note: {name} lacks {lacking}", file=sys.stderr)
    return int(Exit.OK)


def _services(what: Sequence[str]) -> tuple[list[Service], Path]:
    if len(what) == 1 and what[0].endswith(_SUFFIXES) and ":" not in what[0]:
        path = Path(what[0])
        return load_file(path), path.absolute().parent
    return parse_list(list(what), Path.cwd(), where="the command line"), Path.cwd()
