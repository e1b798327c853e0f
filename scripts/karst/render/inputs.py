"""What one image is made of, and its hash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from karst.deps import Plan, Request, choose, versions
from karst.errors import KarstError
from karst.render import bytecode, dockerfile
from karst.render.bases import python_of
from karst.render.context import entries
from karst.render.hashing import canonical, digest

Table = Mapping[str, Any]
# Part of every hash; raise it when the rules of what enters a context change.
FORMAT = "1"
NO_REVISION = "0" * 40
BINARY = "binary"
SBOM = "/opt/venv/sbom.cdx.json"


@dataclass(frozen=True)
class Inputs:
    """One service, reduced to what its image depends on.

    Attributes:
        images: references of the base, runner and builder images.
        supply: packages that the launch needs.
        legacy: see ``legacy_import``.
        cache_tag: the tag of byte code that is made with the context, "" when the build stage makes it.
    """

    name: str
    stack: str
    source: Path
    tree: str
    argv: tuple[str, ...]
    launch: str
    install: bool
    rule: str
    ref: str
    revision: str
    created: str
    repository: str
    apt: tuple[str, ...]
    supply: tuple[str, ...]
    legacy: tuple[str, ...]
    images: Mapping[str, str]
    cache_tag: str


def read(name: str, service: Table, detection: Table, stack: str, images: Mapping[str, str]) -> Inputs:
    """From fetch's and detect's answers; reads the names of the source's files, and the code for one import."""
    source = Path(str(service["source"]))
    launch = str(detection.get("launch", ""))
    files = list(entries(source)) if launch != BINARY else []
    cache_tag = bytecode.tag(python_of(images["base"])) if files and bytecode.small_enough(files) else ""
    return Inputs(
        name=name,
        stack=stack,
        source=source,
        tree=str(service["tree"]),
        argv=command(service, detection),
        launch=launch,
        install=bool(detection.get("install")),
        rule=str(detection.get("rule") or ""),
        ref=str(service.get("ref") or ""),
        revision=str(service.get("revision", "")),
        created=str(service.get("commit_time") or ""),
        repository=str(service.get("repository_url") or ""),
        apt=tuple(map(str, service.get("apt") or [])),
        supply=tuple(map(str, detection.get("packages", []))),
        legacy=legacy_import(files),
        images=images,
        cache_tag=cache_tag,
    )


def build(inputs: Inputs) -> tuple[str, str, Plan | None]:
    """(input hash, Dockerfile, plan). The hash covers all that the build reads, and nothing else.

    The commit is in the Dockerfile (labels, pretend versions) but not in the hash: a commit that leaves a subfolder
    as it was must not rebuild and replace what is made of that folder. An image's revision is therefore the one at
    which its content was first built here.
    """
    plan = _chosen(inputs) if inputs.launch != BINARY else None
    text = rendered(inputs, plan, NO_REVISION)
    generated = canonical([plan.files, plan.manifests, plan.skeleton] if plan else [])
    input_hash = digest(FORMAT, inputs.tree, text, generated, inputs.images["base"], inputs.cache_tag)
    return input_hash, rendered(inputs, plan and _told(plan, inputs.revision), inputs.revision), plan


def _chosen(inputs: Inputs) -> Plan:
    return choose(
        Request(
            source=inputs.source,
            argv=inputs.argv,
            launch=inputs.launch,
            install=inputs.install,
            python=python_of(inputs.images["base"]),
            ref=inputs.ref,
            revision=NO_REVISION,
        )
    )


def _told(plan: Plan, revision: str) -> Plan:
    """The plan with the real revision in the version that was made of none."""
    old, new = versions.of_revision(NO_REVISION), versions.of_revision(revision)
    env = {name: value.replace(old, new) for name, value in plan.env.items()}
    return replace(plan, version=plan.version.replace(old, new), env=env)


def rendered(inputs: Inputs, plan: Plan | None, revision: str) -> str:
    """The Dockerfile's text, with ``revision`` in its labels."""
    image = dockerfile.Image(
        builder_image=inputs.images["builder"],
        runner_image=inputs.images["runner"],
        base_image=inputs.images["base"],
        service=inputs.name,
        argv=inputs.argv,
        plan=plan,
        supply=inputs.supply,
        legacy=inputs.legacy,
        apt=inputs.apt,
        labels=_labels(inputs, plan, revision),
        compiled=inputs.cache_tag != "",
        src_layout=(inputs.source / "src").is_dir(),
    )
    return dockerfile.render(image)


def command(service: Table, detection: Table) -> tuple[str, ...]:
    """The container's command: what was detected, and the list's ``args`` after it, once."""
    argv = [str(word) for word in detection.get("argv", [])]
    args = [str(word) for word in service.get("args") or []]
    if not argv:
        raise KarstError("nothing was detected to run", hint="set `entrypoint:` in the list", code="no_entry_point")
    return tuple(argv if args and argv[-len(args) :] == args else argv + args)


def legacy_import(files: list[tuple[str, Path]]) -> tuple[str, ...]:
    """The first module of the app that imports pkg_resources, which no current setuptools has."""
    wanted = re.compile(rb"^(?:import|from) pkg_resources\b", re.M)
    own = ((name, path) for name, path in bytecode.modules(files) if name != "setup.py")
    return next(((name,) for name, path in own if wanted.search(path.read_bytes())), ())


def _labels(inputs: Inputs, plan: Plan | None, revision: str) -> dict[str, str]:
    """OCI's image annotations and the kit's own; a value that is not known is "" and left out."""
    known = revision != NO_REVISION and re.fullmatch(r"[0-9a-f]{40}", revision) is not None
    return {
        "org.opencontainers.image.title": inputs.name,
        "org.opencontainers.image.description": f"{inputs.name} of stack {inputs.stack}",
        "org.opencontainers.image.source": inputs.repository,
        "org.opencontainers.image.revision": revision if known else "",
        "org.opencontainers.image.created": inputs.created if known else "",
        "org.opencontainers.image.version": plan.version if plan else "",
        "org.opencontainers.image.base.name": inputs.images["base"],
        "karst.stack": inputs.stack,
        "karst.service": inputs.name,
        "karst.rule": inputs.rule,
        "karst.dependencies": plan.kind if plan else "",
        "karst.sbom": SBOM if plan else "",
    }
