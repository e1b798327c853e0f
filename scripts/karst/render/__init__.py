"""scripts/render: from fetched sources and detected entry points to build contexts, for all services in one call."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from karst.errors import KarstError, UsageError
from karst.external import json_field
from karst.files import cache_dir, write_atomic

Table = Mapping[str, Any]
# Part of every hash; raise it when the rules of what enters a context change.
FORMAT = "1"


def handle(query: dict[str, str]) -> dict[str, str]:
    """Answer Terraform's query (see docs/build.md). One failing service fails the call, and every failure is named."""
    services = json_field(query, "services", {})
    detections = json_field(query, "detections", {})
    missing = sorted(set(services) - set(detections))
    if missing:
        raise UsageError(f"`detections` has nothing for {', '.join(missing)}", code="bad_query")
    stack = query.get("stack") or "karst"
    images = {key: query.get(f"{key}_image", "") for key in ("base", "runner", "builder")}
    results: dict[str, Any] = {}
    failures: list[str] = []

    def one(name: str) -> None:
        try:
            results[name] = render_service(name, services[name], detections[name], stack, images)
        except KarstError as err:
            failures.append(f"{name}: {err}")
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            # A manifest of an unforeseen shape: tables where texts belong, versions that are none.
            failures.append(f"{name}: its manifests cannot be understood ({type(err).__name__}: {err})")

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(one, sorted(services)))
    if failures:
        raise KarstError("\n".join(sorted(failures)), code="render_failed")
    return {"services": json.dumps({name: results[name] for name in sorted(results)}, sort_keys=True)}


def render_service(
    name: str, service: Table, detection: Table, stack: str, images: Mapping[str, str]
) -> dict[str, Any]:
    """One service's context, input hash, image tag and command."""
    from karst.render.context import ensure

    source = Path(str(service["source"]))
    if not source.is_dir():
        raise KarstError(
            f"the source {source} is not there", hint="run the plan again: it is fetched anew", code="no_source"
        )
    tree = str(service["tree"])
    asked, spec = str(service.get("python") or ""), str(detection.get("python") or "")
    chosen = {key: pick(value, asked, spec) for key, value in images.items()}
    key = _digest(
        FORMAT,
        kit_hash(),
        name,
        stack,
        tree,
        sys.version,
        _canonical(service),
        _canonical(detection),
        _canonical(chosen),
    )
    remembered = cache_dir() / "render" / f"{key}.json"
    known = _remembered(remembered)
    if known is not None:
        return known
    cache_tag = host_bytecode(source, chosen["base"]) if detection.get("launch") != "binary" else ""
    input_hash, dockerfile, plan = build_input(name, service, detection, stack, chosen, tree, cache_tag)
    context = ensure(input_hash, dockerfile, plan, source, cache_tag)
    result = {
        "context": str(context),
        "dockerfile": "Dockerfile",
        "input_hash": input_hash,
        "tag": f"{stack}/{name}:{input_hash[:12]}",
        "argv": list(command(service, detection)),
    }
    write_atomic(remembered, json.dumps(result, sort_keys=True))
    return result


def build_input(
    name: str, service: Table, detection: Table, stack: str, images: Mapping[str, str], tree: str, cache_tag: str
) -> tuple[str, str, Any]:
    """(input hash, Dockerfile, plan). The hash covers all that the build reads, and nothing else.

    The commit is in the Dockerfile (labels, pretend versions) but not in the hash: a commit that leaves a subfolder
    as it was must not rebuild and replace what is made of that folder. An image's revision is therefore the one at
    which its content was first built here.
    """
    from karst.deps import Request, choose
    from karst.render.dockerfile import Image, render

    argv = command(service, detection)
    texts, plan = [], None
    for revision in ("0" * 40, str(service.get("revision", ""))):
        if detection.get("launch") != "binary":
            plan = choose(
                Request(
                    source=Path(str(service["source"])),
                    argv=argv,
                    launch=str(detection.get("launch", "")),
                    install=bool(detection.get("install")),
                    python=python_of(images["base"]),
                    ref=str(service.get("ref") or ""),
                    revision=revision,
                )
            )
        image = Image(
            builder_image=images["builder"],
            runner_image=images["runner"],
            base_image=images["base"],
            service=name,
            argv=argv,
            plan=plan,
            supply=tuple(map(str, detection.get("packages", []))),
            apt=tuple(map(str, service.get("apt") or [])),
            labels=_labels(name, service, detection, stack, plan.version if plan else "", revision),
            compiled=cache_tag != "",
            src_layout=(Path(str(service["source"])) / "src").is_dir(),
        )
        texts.append(render(image))
    files = _canonical([plan.files, plan.manifests, plan.skeleton] if plan else [])
    return _digest(FORMAT, tree, texts[0], files, images["base"], cache_tag), texts[1], plan


def host_bytecode(source: Path, base_image: str) -> str:
    """The tag of byte code to make here, "" when the build stage has to: another Python, or very much code."""
    from karst.render import bytecode
    from karst.render.context import entries

    cache_tag = bytecode.tag(python_of(base_image))
    return cache_tag if cache_tag and bytecode.small_enough(list(entries(source))) else ""


def command(service: Table, detection: Table) -> tuple[str, ...]:
    """The container's command: what was detected, and the list's ``args`` after it, once."""
    argv = [str(word) for word in detection.get("argv", [])]
    args = [str(word) for word in service.get("args") or []]
    if not argv:
        raise KarstError("nothing was detected to run", hint="set `entrypoint:` in the list", code="no_entry_point")
    return tuple(argv if args and argv[-len(args) :] == args else argv + args)


def pick(images: str, asked: str, spec: str = "") -> str:
    """An image reference. Of a JSON object by Python version: the one asked for, else the first in ``spec``."""
    from karst.deps.pep508 import satisfies

    if images.startswith("{"):
        try:
            by_version = {str(key): str(value) for key, value in json.loads(images).items()}
        except ValueError as err:
            raise UsageError(f"the image references are not JSON ({err})", code="bad_query") from err
    else:
        by_version = {python_of(images): images}
    have = ", ".join(sorted(filter(None, by_version)))
    if asked and have and asked not in by_version:
        raise KarstError(
            f"Python {asked} is asked for, and there is a base image for {have} only",
            hint="change `python:`, or set a base image of that version",
            code="no_python",
        )
    if asked in by_version:
        return by_version[asked]
    fitting = [image for version, image in by_version.items() if not version or satisfies(f"{version}.99", spec)]
    return fitting[0] if fitting else next(iter(by_version.values()))


def python_of(reference: str) -> str:
    """The Python version that an image's tag names ("python:3.11-slim" → "3.11"), "" when it names none."""
    match = re.search(r":(3\.\d+)(?![\d])", reference)
    return match.group(1) if match else ""


def _labels(name: str, service: Table, detection: Table, stack: str, version: str, revision: str) -> dict[str, str]:
    commit = revision if re.fullmatch(r"[0-9a-f]{40}", revision) else ""
    return {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.source": str(service.get("repository_url") or ""),
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.created": str(service.get("commit_time") or "") if commit.strip("0") else "",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.description": f"{name} of stack {stack}",
        "karst.stack": stack,
        "karst.service": name,
        "karst.rule": str(detection.get("rule") or ""),
        "karst.sbom": "/opt/venv/sbom.cdx.json" if detection.get("launch") != "binary" else "",
    }


def kit_hash() -> str:
    """Hash of the programs that decide: remembered results are theirs, and only theirs."""
    folder = Path(__file__).resolve().parent
    sources = sorted([*folder.glob("*.py"), *(folder.parent / "deps").glob("*.py")])
    template = folder.parents[2] / "modules" / "karst_service" / "templates" / "app.Dockerfile.tmpl"
    return _digest(*(path.read_text(encoding="utf-8") for path in [*sources, template]))


def _remembered(path: Path) -> dict[str, Any] | None:
    """An earlier answer whose context is still there."""
    import os

    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        os.utime(known["context"])
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(known)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
