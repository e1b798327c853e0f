"""The three roles, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from karst.errors import UsageError, did_you_mean


class Role(IntEnum):
    """What a caller may do; a higher role includes the lower ones."""

    VIEWER = 1  # read services, logs, runs
    DEPLOYER = 2  # start runs, cancel their own
    ADMIN = 3  # cancel anybody's run

    @property
    def word(self) -> str:
        return self.name.lower()


def parse_role(word: str) -> Role | None:
    """The role of that name, or None."""
    return next((role for role in Role if role.word == word), None)


def parse_grants(text: str, setting: str) -> dict[str, Role]:
    """Parse ``who=role, who=role``; raise UsageError naming ``setting``."""
    grants: dict[str, Role] = {}
    for item in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        who, found, word = item.rpartition("=")
        role = parse_role(word.strip())
        if not found or not who.strip() or role is None:
            words = [each.word for each in Role]
            raise UsageError(
                f"{setting}: {item!r} is not `who=role` with a role of {', '.join(words)}",
                hint=did_you_mean(word.strip(), words) or "for example: alice@example.org=deployer",
                code="bad_setting",
            )
        grants[who.strip().lower()] = role
    return grants


def role_of(user: Mapping[str, Any], grants: Mapping[str, Role]) -> Role | None:
    """The role of the user that the auth server described, or None.

    ``app_metadata`` can be written by the project's owner only. ``user_metadata`` is writable by the user and is never
    read. An e-mail address counts once the auth server says it is confirmed: anybody can claim one that is not.
    """
    by_id = grants.get(str(user.get("id", "")).lower())
    if by_id is not None:
        return by_id
    email = user.get("email")
    if isinstance(email, str) and email and (user.get("email_confirmed_at") or user.get("confirmed_at")):
        by_email = grants.get(email.lower())
        if by_email is not None:
            return by_email
    metadata = user.get("app_metadata")
    word = metadata.get("karst_role") if isinstance(metadata, dict) else None
    return parse_role(word) if isinstance(word, str) else None
