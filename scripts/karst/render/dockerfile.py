"""From a plan to the text of a Dockerfile, so that nothing in a repository can add an instruction to it."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from karst.deps import APP, VENV, Plan
from karst.errors import KarstError
from karst.render.hashing import TEMPLATE

IMAGE = re.compile(r"[A-Za-z0-9][\w.\-/:@]*")
LABEL = re.compile(r"[A-Za-z0-9][\w.\-/:@+~%,= ]*")
LABEL_NAME = re.compile(r"[a-z0-9][a-z0-9.\-]*")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.\-]*(?:=[A-Za-z0-9][A-Za-z0-9.+:~\-]*)?")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
VERSION = re.compile(r"[0-9][0-9A-Za-z.!+]*")
RUNTIME_TOOL = "karst-build"


@dataclass(frozen=True)
class Image:
    """What a Dockerfile says, besides the plan.

    Attributes:
        argv: the container's command; becomes the runner's argument.
        supply: packages that the launch needs and the repository does not list.
        legacy: a file of the app that imports pkg_resources.
        apt: Debian packages that the user asked for.
        src_layout: the repository has a folder ``src``.
        compiled: the context holds the byte code already.
        labels: values that do not fit a label are left out, not cleaned up.
    """

    builder_image: str
    runner_image: str
    base_image: str
    service: str
    argv: tuple[str, ...]
    plan: Plan | None
    supply: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    legacy: tuple[str, ...] = ()
    src_layout: bool = False
    compiled: bool = False


def render(image: Image) -> str:
    """The Dockerfile. ``plan`` None means a repository without Python: its files on the runner image."""
    return str(_template().render(**values(image)))


@functools.cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - not HTML: the filter `exec` escapes # nosec B701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["exec"] = exec_form
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def exec_form(words: Sequence[str], more: Sequence[str] = ()) -> str:
    """A JSON array for RUN and CMD: one line of ASCII, no variable, no heredoc, whatever the words are."""
    text = json.dumps([*words, *more], ensure_ascii=True)
    for character in "$<`":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def values(image: Image) -> dict[str, object]:
    """What the template prints. Raises KarstError for a value that must be right and is not."""
    plan = image.plan or Plan(kind="none", reason="")
    for reference in (image.builder_image, image.runner_image):
        _check(IMAGE, reference, "image reference")
    for package in image.apt:
        _check(PACKAGE, package, "Debian package in `apt:`")
    for name, value in plan.env.items():
        _check(VARIABLE, name, "build variable")
        _check(VERSION, value, "version")
    early = not plan.project or plan.skeleton is not None
    build_packages = sorted({*image.apt, *plan.apt}) if image.plan else []
    install, skeleton, project = steps(image, plan, early=early)
    return {
        "python": image.plan is not None,
        "builder_image": image.builder_image,
        "runner_image": image.runner_image,
        "build_packages": build_packages,
        "runtime_packages": sorted(set(image.apt)),
        "manifests": bool(plan.manifests or plan.files),
        "cache": "karst-uv-" + hashlib.sha256(repr([image.base_image, build_packages]).encode()).hexdigest()[:8],
        "install": install,
        "skeleton": skeleton,
        "project": project,
        "delta": plan.complete and not early,
        "complete": plan.complete,
        "env": dict(sorted(plan.env.items())),
        "labels": {
            name: value
            for name, value in sorted(image.labels.items())
            if LABEL_NAME.fullmatch(name) and LABEL.fullmatch(value)
        },
        "argv": list(image.argv),
    }


def steps(image: Image, plan: Plan, *, early: bool) -> tuple[list[str], list[str], list[str]]:
    """The steps before the source (dependencies; the project on its skeleton) and after it; one RUN each at most.

    ``early`` means that nothing but byte code needs the source: then a changed line costs one COPY.
    """
    folders = [APP, f"{APP}/src"] if image.src_layout else [APP]
    install: list[Sequence[str]] = [*plan.install, ("path", *folders)]
    install += [("script", name, target) for name, target in sorted(plan.scripts.items())]
    own: list[Sequence[str]] = [
        ("optional", *command) if plan.project_optional else command for command in plan.project
    ]
    last: list[Sequence[str]] = [("supply", *image.supply)] if image.supply else []
    if any(package.split("=")[0].endswith("-dev") for package in image.apt):
        last.append(("libraries",))
    if plan.install or not plan.complete or image.legacy:
        last.append(("legacy", *image.legacy))
    compiling: list[Sequence[str]] = [] if image.compiled else [("compile", APP)]
    ready: list[Sequence[str]] = [("compile", VENV), ("sbom", image.service)]
    if early:
        install += [*last, *([("compile", VENV)] if own else ready)]
        return _chain(install), _chain([*own, *ready]) if own else [], _chain(compiling)
    if plan.complete:
        late: list[Sequence[str]] = [*own, ("compile", VENV), ("delta",), *compiling]
        return _chain([*install, *last, *ready, ("snapshot",)]), [], _chain(late)
    return _chain(install), [], _chain([*own, *last, *ready, *compiling])


def _chain(commands: Sequence[Sequence[str]]) -> list[str]:
    words: list[str] = []
    for command in commands:
        words += ["--then", *command] if words else [RUNTIME_TOOL, *command]
    return words


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise KarstError(f"`{value!a}` is not a valid {what}", code="bad_value")
