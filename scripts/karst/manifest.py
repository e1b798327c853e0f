"""The list of services: what each entry may say, checked key by key. docs/slugs.md documents the same keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from karst import slug as slugs
from karst.errors import UsageError, did_you_mean
from karst.fields import Entry

NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]", re.ASCII)
"""A service's name is a DNS label, a certificate's SAN and part of container names: one rule fits all of them."""

OPERATORS = ("operator", "edge")
"""Identities besides the services that `allow:` may name."""


@dataclass(frozen=True)
class Service:
    """One entry of the list.

    Attributes:
        name: DNS name in the mesh.
        slug: canonical slug.
        path: subfolder of the repository that is the project, or None for all of it.
        entrypoint: what to start, overriding detection.
        args: arguments of the program.
        port: the port it listens on, or None to find out.
        env: its environment.
        secrets: names of environment variables handed over as files.
        allow: who may call it; None means every service of the stack.
        expose: serve it on the edge's front door.
        memory: limit as Docker spells it (``256m``).
        cpus: limit in cores.
        health: HTTP path that answers when it is ready.
        otel: trace it.
        replicas: how many pods of it run.
        apt: Debian packages it needs.
        python: version it wants (``3.12``).
        dockerfile: the repository's own Dockerfile, relative to ``path``, to build instead of an image of the kit.
        user: numeric user of such an image's container (``101``, ``101:101``); None is the image's own.
        writable: folders in which such an image may write; ``/`` is everywhere.
    """

    name: str
    slug: str
    path: str | None = None
    entrypoint: str | None = None
    args: tuple[str, ...] = ()
    port: int | None = None
    env: Mapping[str, str] | None = None
    secrets: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = None
    expose: bool = False
    memory: str | None = None
    cpus: float | None = None
    health: str | None = None
    otel: bool = True
    replicas: int = 1
    apt: tuple[str, ...] = ()
    python: str | None = None
    dockerfile: str | None = None
    user: str | None = None
    writable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # A frozen dataclass cannot have a mutable default; callers always see a mapping.
        object.__setattr__(self, "env", dict(self.env or {}))

    @property
    def parsed(self) -> slugs.Slug:
        """The slug, parsed."""
        return slugs.parse(self.slug)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, every key present."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields(self)
        }

    def to_entry(self) -> dict[str, Any]:
        """As one would write it in a list: the name, the slug, and the keys that are not at their defaults."""
        plain = Service(self.name, self.slug).to_dict()
        return {key: value for key, value in self.to_dict().items() if key in ("name", "slug") or value != plain[key]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Service:
        """The inverse of ``to_dict``; keys that are not the service's (a revision, a source) are left alone."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        return cls(**values)


_REF_HINT = "write the ref into the slug: gh:owner/repo#ref"
_OTHER_WORDS = {
    **dict.fromkeys(("ref", "branch", "tag", "version", "commit", "revision", "rev"), _REF_HINT),
    **dict.fromkeys(("environment", "environ", "vars"), "did you mean `env`?"),
    **dict.fromkeys(("repo", "repository", "url", "git", "source", "src"), "did you mean `slug`?"),
    **dict.fromkeys(("command", "cmd", "main", "run", "start"), "did you mean `entrypoint` (and `args`)?"),
    **dict.fromkeys(("dir", "folder", "subdir", "subfolder", "workdir", "root"), "did you mean `path`?"),
    **dict.fromkeys(("healthcheck", "health_path", "readiness"), "did you mean `health`?"),
    **dict.fromkeys(("mem", "mem_limit", "ram"), "did you mean `memory`?"),
    **dict.fromkeys(("scale", "instances", "count", "copies"), "did you mean `replicas`?"),
    **dict.fromkeys(("image", "build", "containerfile"), "did you mean `dockerfile`, a path in the repository?"),
}
"""What other tools call it; nearest spelling finds the rest."""

KEYS = tuple(field.name for field in fields(Service))


def load_file(path: Path) -> list[Service]:
    """The services of a YAML, JSON or tfvars list; UsageError names the file and what is wrong in it."""
    from karst.listfile import read_list

    return parse_list(read_list(path), path.absolute().parent, where=path.name)


def parse_list(entries: Any, base_dir: Path, where: str = "the list") -> list[Service]:
    """Check ``entries`` (as decoded from YAML or JSON); ``base_dir`` is what ``dir:`` slugs are relative to."""
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        what = {"dict": "a mapping", "str": "text", "NoneType": "empty"}.get(type(entries).__name__, "a single value")
        inner = isinstance(entries, dict) and next((k for k in ("slugs", "services", "repos") if k in entries), None)
        hint = "begin each entry with `- `, as in `- gh:owner/repo`"
        raise UsageError(
            f"{where} is {what}, not a list", hint=f"drop `{inner}:`, and {hint}" if inner else hint, code="not_a_list"
        )
    if not entries:
        raise UsageError(f"{where} has no entries", hint="add one, as in `- gh:owner/repo`", code="empty_list")
    services = [_service(entry, number, base_dir, where) for number, entry in enumerate(entries, 1)]
    _check_unique(services, where)
    for service in services:
        _check_callers(service, services, where)
    return services


def find_errors(entries: Sequence[Any], base_dir: Path, where: str = "the list") -> list[tuple[int, UsageError]]:
    """Every wrong entry of a list that `parse_list` refuses, with its place (from 0): for showing them all at once."""
    found: list[tuple[int, UsageError]] = []
    services: list[Service] = []
    for number, entry in enumerate(entries, 1):
        try:
            services.append(_service(entry, number, base_dir, where))
        except UsageError as err:
            found.append((number - 1, err))
    if not found:
        # What is wrong between entries is shown at the one that completes it.
        for number in range(len(services)):
            try:
                _check_unique(services[: number + 1], where)
            except UsageError as err:
                return [(number, err)]
        for number, service in enumerate(services):
            try:
                _check_callers(service, services, where)
            except UsageError as err:
                found.append((number, err))
    return found


def parse_entry(entry: Any, base_dir: Path, where: str) -> Service:
    """Check one entry that stands alone: whom it allows may be in no list any more."""
    return _service(entry, 1, base_dir, where)


def default_name(slug: slugs.Slug, path: str | None, base_dir: Path) -> str:
    """The last segment of the path or repository, lower-cased, ``_`` and ``.`` turned into ``-``; it may break NAME."""
    if path:
        last = path.rstrip("/").rsplit("/", 1)[-1]
    elif slug.is_local:
        last = (base_dir / Path(slug.path).expanduser()).resolve().name
    else:
        last = slug.repo
    return last.lower().replace("_", "-").replace(".", "-").replace(" ", "-")


def _service(raw: Any, number: int, base_dir: Path, where: str) -> Service:
    if isinstance(raw, str):
        raw = {"slug": raw}
    if not isinstance(raw, Mapping):
        raise UsageError(
            f"entry {number} of {where} is {_kind(raw)}, not a slug or a mapping",
            hint="write `- gh:owner/repo` or `- slug: gh:owner/repo` with more keys below it",
            code="bad_entry",
        )
    title = f"entry {number}"
    for key in ("name", "slug"):
        if isinstance(raw.get(key), str):
            title += f" ({slugs.shown(raw[key])})"
            break
    entry = Entry(raw, f"{title} of {where}")
    for key in raw:
        if key not in KEYS:
            shown = key if isinstance(key, str) else f"{key!r}, {_kind(key)}"
            hint = _OTHER_WORDS.get(str(key).lower()) or did_you_mean(str(key), KEYS)
            hint = hint or f"the keys are {', '.join(KEYS)}"
            raise UsageError(f"{entry.where} has an unknown key `{shown}`", hint=hint, code="unknown_key")
    if raw.get("slug") is None:
        raise UsageError(f"{entry.where} has no slug", hint="add slug: gh:owner/repo", code="no_slug")
    try:
        slug = slugs.parse(entry.text("slug") or "")
    except UsageError as err:
        raise UsageError(f"{entry.where}: {err.message}", hint=err.hint, code=err.code) from None
    path = entry.subfolder("path")
    _check_dockerfile(entry)
    return Service(
        name=_name(entry, slug, path, base_dir),
        slug=str(slug),
        path=path,
        entrypoint=entry.entrypoint("entrypoint"),
        args=entry.words("args"),
        port=entry.port("port"),
        env=entry.env("env"),
        secrets=entry.secrets("secrets"),
        allow=entry.allow("allow", NAME),
        expose=entry.flag("expose", False),
        memory=entry.memory("memory"),
        cpus=entry.cpus("cpus"),
        health=entry.http_path("health"),
        otel=entry.flag("otel", True),
        replicas=entry.replicas("replicas"),
        apt=entry.packages("apt"),
        python=entry.python("python"),
        dockerfile=entry.dockerfile("dockerfile"),
        user=entry.user("user"),
        writable=entry.folders("writable"),
    )


def _name(entry: Entry, slug: slugs.Slug, path: str | None, base_dir: Path) -> str:
    rule = "2 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -"
    given = entry.text("name")
    if given is not None:
        if not NAME.fullmatch(given):
            raise entry.bad("name", f"`{given}` is no name of a service", f"a name is {rule}", "bad_name")
        name = given
    else:
        name = default_name(slug, path, base_dir)
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{entry.where}: `{name}` (from the slug) is no name of a service",
                hint=f"add name: with {rule}",
                code="bad_name",
            )
    if name in OPERATORS:
        raise entry.bad("name", f"`{name}` is taken by the kit itself", "choose another name:", "bad_name")
    return name


_KIT_BUILDS = ("entrypoint", "apt", "python")
_OWN_IMAGE = ("user", "writable")


def _check_dockerfile(entry: Entry) -> None:
    """Refuse keys that say how the kit builds an image beside one that is built otherwise, and the other way round."""
    own = entry.raw.get("dockerfile") is not None
    for key in _KIT_BUILDS if own else _OWN_IMAGE:
        if entry.raw.get(key) is not None:
            if own:
                why, hint = (
                    "it has no meaning beside `dockerfile`",
                    "say it in the Dockerfile, or leave `dockerfile` away",
                )
            else:
                why, hint = (
                    "it is for an entry with `dockerfile`",
                    "what the kit builds runs as 10001 and writes to /tmp",
                )
            raise entry.bad(key, why, hint)


def _check_unique(services: Sequence[Service], where: str) -> None:
    first: dict[str, int] = {}
    for number, service in enumerate(services, 1):
        if service.name in first:
            other = first[service.name]
            raise UsageError(
                f"entries {other} ({services[other - 1].slug}) and {number} ({service.slug}) of {where} "
                f"are both named `{service.name}`",
                hint="give one of them another name:",
                code="duplicate_name",
            )
        first[service.name] = number


def _check_callers(service: Service, services: Sequence[Service], where: str) -> None:
    known = [*(each.name for each in services), *OPERATORS]
    for caller in service.allow or ():
        if caller not in known:
            raise UsageError(
                f"`{service.name}` of {where} allows `{caller}`, which is no service of the list",
                hint=did_you_mean(caller, known) or "name services of the list, or operator or edge",
                code="unknown_caller",
            )


def _kind(value: Any) -> str:
    from karst.fields import kind

    return kind(value)
