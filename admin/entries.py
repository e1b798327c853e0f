"""What a request may ask for: a strict JSON body, entries by the list's own grammar, owners by an allow-list."""

from __future__ import annotations

import fnmatch
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admin.problems import Problem
from karst.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from karst.manifest import Service

MAX_ENTRIES = 200
ANY_OWNER = ("gh:*", "gl:*", "bb:*")


@dataclass(frozen=True)
class Policy:
    """What callers may deploy.

    Attributes:
        allow: patterns of slugs without their ref, as ``gh:owner/*``; ``*`` matches across slashes.
        secrets: names that an entry's ``secrets:`` may take from this machine's environment.
    """

    allow: tuple[str, ...] = ANY_OWNER
    secrets: frozenset[str] = frozenset()


def parse_patterns(text: str) -> tuple[str, ...]:
    """Parse KARST_ADMIN_ALLOW; UsageError for a pattern that can match no slug."""
    patterns = tuple(filter(None, (item.strip() for item in text.replace("\n", ",").split(","))))
    for pattern in patterns:
        if not pattern.startswith(("gh:", "gl:", "bb:")) or pattern.endswith(":"):
            raise UsageError(
                f"KARST_ADMIN_ALLOW: {pattern!r} is not a pattern of slugs",
                hint="for example: gh:my-company/*, gl:group/project",
                code="bad_setting",
            )
    return patterns or ANY_OWNER


def decode(body: bytes) -> dict[str, Any]:
    """One JSON object in UTF-8, no key twice, no NaN; Problem 400 otherwise."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as err:
        reason = "it is nested too deeply" if isinstance(err, RecursionError) else str(err)[:200]
        raise Problem(400, "bad_json", f"the body is not a JSON object: {reason}") from err
    if not isinstance(value, dict):
        raise Problem(400, "bad_json", "the body is not a JSON object")
    return value


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:40]!r} is there twice")
        result[key] = value
    return result


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def only(body: Mapping[str, Any], known: Iterable[str]) -> None:
    """Problem 422 for a member that nobody knows: a typing error must not be taken for consent."""
    names = list(known)
    for key in body:
        if key not in names:
            raise Problem(
                422,
                "unknown_key",
                f"the body has an unknown member {key[:60]!r}",
                hint=did_you_mean(key, names) or f"known are: {', '.join(names) or 'none'}",
            )


def flag(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise Problem(422, "bad_value", f"`{key}` is true or false")
    return value


def check(raw: Any, policy: Policy) -> tuple[str, ...]:
    """Check the entries of a request; return their slugs. Problem 422 or 403 with one sentence otherwise."""
    from karst.manifest import find_errors, parse_list

    if not isinstance(raw, list) or not raw:
        raise Problem(422, "not_a_list", "`slugs` is a list of at least one slug", hint='{"slugs": ["gh:owner/repo"]}')
    if len(raw) > MAX_ENTRIES:
        raise Problem(422, "too_many", f"`slugs` has {len(raw)} entries; {MAX_ENTRIES} is the most")
    # An empty folder as the base: nothing that a request says can name a file of this machine.
    with tempfile.TemporaryDirectory(prefix="karst-") as nowhere:
        try:
            services = parse_list(raw, Path(nowhere), where="`slugs`")
        except UsageError as err:
            found = find_errors(raw, Path(nowhere), "`slugs`")
            errors = [_error(number, each.code, each.message, each.hint) for number, each in found]
            raise Problem(422, err.code, err.message, hint=err.hint, errors=errors) from err
    for number, service in enumerate(services):
        try:
            _permit(service, policy)
        except Problem as err:
            err.extra["errors"] = [_error(number, err.code, err.detail, err.hint)]
            raise
    return tuple(service.slug for service in services)


def _error(number: int, code: str, detail: str, hint: str) -> dict[str, str]:
    """One wrong entry, named by a JSON pointer into the request."""
    return {"pointer": f"/slugs/{number}", "code": code, "detail": detail, "hint": hint}


def _permit(service: Service, policy: Policy) -> None:
    """Problem 403 for what this server does not deploy."""
    slug = service.parsed
    if slug.is_local:
        raise Problem(
            403,
            "local_folder",
            f"`{service.slug}` is a folder of this machine: not over HTTP",
            hint="deploy folders with `iac deploy --file` on the machine itself",
        )
    plain = f"{slug.kind}:{slug.path}"
    if not any(fnmatch.fnmatchcase(plain.lower(), pattern.lower()) for pattern in policy.allow):
        raise Problem(
            403,
            "owner_not_allowed",
            f"`{plain}` is not on this server's list",
            hint="KARST_ADMIN_ALLOW is the list",
        )
    for name in service.secrets:
        if name not in policy.secrets:
            raise Problem(
                403,
                "secret_not_allowed",
                f"`{service.name}` asks for the secret {name}, which this server does not hand out",
                hint="KARST_ADMIN_SECRETS lists the names that a request may use",
            )
