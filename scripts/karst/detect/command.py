"""``scripts/detect``: all services for Terraform in one call, or one repository by hand."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from karst import external
from karst.detect import DetectError, Detection, _run, detect
from karst.detect.errors import listed
from karst.errors import Exit, KarstError, UsageError
from karst.files import cache_dir, write_atomic


def main(argv: Sequence[str]) -> int:
    """Without arguments the external program of Terraform, with them the command by hand."""
    return external.guarded(lambda: by_hand(argv)) if argv else external.serve(handle)


def handle(query: dict[str, str]) -> dict[str, str]:
    """``services`` (what fetch answered, JSON) in, ``services`` (name → detection, JSON) out.

    Raises KarstError that names every service without an answer, one sentence each.
    """
    services = external.json_field(query, "services", {})
    if not isinstance(services, dict):
        raise UsageError("`services` in the query must be a JSON object", code="bad_query")
    available = external.json_field(query, "python_available", ["3.11"])
    found: dict[str, Any] = {}
    failed: list[tuple[str, DetectError]] = []
    for name, service in sorted(services.items()):
        if "pinned" in service:
            found[name] = service["pinned"]["detection"]
            continue
        try:
            found[name] = _cached(name, service, available)
        except DetectError as err:
            failed.append((name, err))
    if failed:
        raise _together(failed)
    return {"services": json.dumps(found, sort_keys=True)}


def _together(failed: list[tuple[str, DetectError]]) -> KarstError:
    if len(failed) == 1:
        name, err = failed[0]
        whole = KarstError(f"{name}: {err.message}", hint=err.hint, code=err.code)
    else:
        lines = [f"{name}: {err.message}" + (f" (hint: {err.hint})" if err.hint else "") for name, err in failed]
        whole = KarstError("\n".join(lines), code=failed[0][1].code)
    whole.parts = dict(failed)
    return whole


def question(name: str, service: Mapping[str, Any], available: Sequence[str]) -> dict[str, Any]:
    """The arguments of ``detect`` for one service of the list."""
    env = service.get("env") or {}
    variable, where = env.get("ENTRYPOINT"), f"the `env:` of {name}"
    if not variable:
        variable, where = os.environ.get("ENTRYPOINT"), "the environment"
    version = service.get("python")
    slug = str(service.get("slug", "")).split("#")[0].rstrip("/")
    folder = str(service.get("path") or "").strip("/")
    return {
        "entrypoint": service.get("entrypoint") or None,
        "args": list(service.get("args") or ()),
        "python_available": [version] if version else list(available),
        "dist_hint": (folder or slug).rpartition("/")[2].rpartition(":")[2],
        "variable": variable or None,
        "variable_source": where,
    }


def _cached(name: str, service: Mapping[str, Any], available: Sequence[str]) -> dict[str, Any]:
    """One detection; answers are kept by the tree's hash, so that a plan without changes reads no source at all."""
    source, tree = Path(str(service.get("source", ""))), service.get("tree")
    if service.get("dockerfile"):
        from karst.detect.own_image import own_image

        return own_image(source, str(service["dockerfile"])).to_dict()
    asked = question(name, service, available)
    if not tree:
        return detect(source, **asked).to_dict()
    key = hashlib.sha256(json.dumps([tree, asked, _own_hash()], sort_keys=True).encode()).hexdigest()
    kept = cache_dir() / "detect" / f"{key}.json"
    try:
        return Detection.from_dict(json.loads(kept.read_text())).to_dict()
    except (OSError, ValueError, KeyError, TypeError):
        pass
    answer = detect(source, **asked).to_dict()
    write_atomic(kept, json.dumps(answer))
    return answer


def _own_hash() -> str:
    """The detector's own source: an answer of another version is no answer."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def by_hand(argv: Sequence[str]) -> int:
    """``scripts/detect PATH-or-SLUG [--json] [--explain] [--entrypoint E] [-- ARGS…]``: one JSON object on stdout."""
    given, args = _split(list(argv))
    parser = argparse.ArgumentParser(
        prog="detect",
        description="Say how a repository is started and why. Nothing of the repository is imported or run.",
        epilog="Arguments for the program itself come after `--`. The variable ENTRYPOINT overrides the rules.",
    )
    parser.add_argument("source", metavar="PATH-or-SLUG", help="a folder, or gh:owner/repo[#ref], gl:…, bb:…")
    parser.add_argument("--json", action="store_true", help="one JSON object (the default; for symmetry)")
    parser.add_argument("--explain", action="store_true", help="every rule with hit or miss and why")
    parser.add_argument("--entrypoint", help="as `entrypoint:` in the list")
    parser.add_argument("--path", default="", help="as `path:` in the list: a folder inside the repository")
    parser.add_argument(
        "--python", action="append", metavar="X.Y", type=_version, help="an available Python (default 3.11)"
    )
    options = parser.parse_args(given)
    try:
        source, name = _source(options.source)
        if options.path:
            source, name = _inside(source, options.path), options.path.rstrip("/").rpartition("/")[2]
        answer: Detection | KarstError
        answer, steps = _run(
            source,
            options.entrypoint,
            args,
            options.python or ["3.11"],
            name,
            os.environ.get("ENTRYPOINT"),
            "the environment",
        )
    except KarstError as err:
        answer, steps = err, []
    if options.explain and not options.json:
        return _print_explained(answer, steps)
    body: dict[str, Any] = answer.to_dict() if isinstance(answer, Detection) else {"error": _report(answer)}
    if options.explain:
        body["rules"] = [{"rule": rule, "outcome": outcome, "why": why} for rule, outcome, why in steps]
    json.dump(body, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(Exit.OK if isinstance(answer, Detection) else Exit.FAILED)


def _report(err: KarstError) -> dict[str, object]:
    return err.report() if isinstance(err, DetectError) else dict(err.to_dict())


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _source(text: str) -> tuple[Path, str]:
    """A folder that exists, else a slug, fetched into the cache."""
    path = Path(text).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if not text.startswith(("gh:", "gl:", "bb:", "dir:")):
        raise DetectError(
            "no_source", f"{text} is neither a folder nor a slug", hint="a slug looks like gh:owner/repo[#ref]"
        )
    from karst.fetch import fetch_each
    from karst.manifest import parse_list

    try:
        services = parse_list([{"slug": text, "name": "by-hand"}], Path.cwd())
    except KarstError as err:  # there is no list whose entry this could be
        err.message = err.message.removeprefix("entry 1 (by-hand) of the list: ")
        raise
    fetched = fetch_each(services, Path.cwd())["by-hand"]
    if isinstance(fetched, KarstError):
        raise fetched
    return fetched.source, text.split("#")[0].rstrip("/").rpartition("/")[2]


def _inside(source: Path, folder: str) -> Path:
    """The folder that ``--path`` names, which must be one of the repository's own."""
    inner = source / folder
    if inner.is_dir() and inner.resolve().is_relative_to(source.resolve()):
        return inner
    known = sorted(item.name for item in source.iterdir() if item.is_dir() and not item.name.startswith("."))
    raise DetectError(
        "no_source",
        f"`--path {folder}` is no folder of the repository",
        hint=f"it has {listed(known)}" if known else "it has no folders: leave `--path` out",
    )


def _version(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no version like 3.12")
    return text


def _print_explained(answer: Detection | KarstError, steps: list[tuple[str, str, str]]) -> int:
    for rule, outcome, why in steps:
        print(f"{outcome:8} {rule:15} {why}")
    if isinstance(answer, Detection):
        print(f"\nstarts   {' '.join(answer.argv)}\nbecause  {answer.reason} ({answer.evidence})")
        return int(Exit.OK)
    print(f"\nrefused  {answer.code}: {answer.message}")
    evidence = answer.evidence if isinstance(answer, DetectError) else ""
    if evidence and evidence not in answer.message:
        print(f"seen in  {evidence}")
    if answer.hint:
        print(f"hint     {answer.hint}")
    return int(Exit.FAILED)
