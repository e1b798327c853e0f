"""Why a plan changes a service: what its running generation was made of against what the next one is made of.

The module's output `services` has the parts of each generation (`made_of`), before and after. Of the environment only
the names are told: values can be somebody's secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Reason = dict[str, str]
Table = Mapping[str, Any]

# Part of an image → the words for a change of it.
_IMAGE_PARTS = {
    "source": "source",
    "dependencies": "dependencies",
    "dockerfile": "Dockerfile",
    "command": "entry point or args",
    "apt": "Debian packages",
    "base": "base image",
    "builder": "the kit's builder",
    "runner": "the kit's runner",
}
_SETTINGS = (
    "port",
    "health",
    "allow",
    "expose",
    "memory",
    "cpus",
    "otel",
    "logs",
    "replicas",
    "args",
    "user",
    "writable",
)
# What a setting that is not given means.
_UNSET = {
    "port": "found out",
    "health": "none",
    "memory": "no limit",
    "cpus": "no limit",
    "args": "the image's",
    "user": "the image's",
    "writable": "nothing but /tmp and /run",
}
_ROLES = ("pod", "app", "sidecar")


def reasons(before: Table | None, after: Table | None, changes: Table) -> list[Reason]:
    """Why, most telling first; each is {what, before, after, text}.

    ``before`` and ``after`` are the service's entries of the output; None when it is not there. ``changes`` is
    Terraform's resource change by step (pod, app, sidecar, gate).
    """
    if after is None:
        return [_reason("removed", text="no longer in the list")] if before else []
    if before is None:
        return [_reason("new", after=after["revision"], text=f"{after['slug']} at {short(after['revision'])}")]
    old, new = before.get("made_of") or {}, after.get("made_of") or {}
    found = _source(before, after)
    found += _image(before, after, old, new, changes.get("image") or {})
    settings = [key for key in _SETTINGS if key in old and key in new and old[key] != new[key]]
    found += [_reason(key, *(_told(key, one.get(key, "")) for one in (old, new))) for key in settings]
    found += _environment(changes.get("app") or {}, {reason["what"] for reason in found})
    if old and old.get("secrets") != new.get("secrets"):
        found.append(_reason("secrets", text="secrets changed"))
    if old and old.get("envoy") != new.get("envoy") and not {"allow", "expose", "health"} & set(settings):
        found.append(_reason("envoy", text="Envoy configuration changed"))
    if old and old.get("sidecar") != new.get("sidecar") and old.get("base") == new.get("base"):
        found.append(_reason("sidecar", text="the kit's sidecar image changed"))
    if old and old.get("owner") != new.get("owner"):
        found.append(_reason("owner", old.get("owner", ""), new.get("owner", "")))
    if old and old.get("identity") != new.get("identity"):
        found.append(_reason("identity", text=f"identity renewed (valid until {after.get('not_after', '?')})"))
    return found + ([] if [f for f in found if f["what"] != "identity"] else _drift(changes))


def shared(changes: Table) -> list[Reason]:
    """Why the network, the edge and the shared images change."""
    found = []
    for step, change in sorted(changes.items()):
        before, after = change.get("before"), change.get("after")
        if before is None:
            found.append(_reason(step, text=f"{step} is new, or gone from the host"))
        elif after is None:
            found.append(_reason(step, text=f"{step} is not needed any more"))
        elif step in ("edge", "network"):
            names = sorted({_EDGE_WORDS.get(name, name) for name in _differing(change)})
            found.append(_reason(step, text=f"{step}: {', '.join(names) or 'recreated'}"))
        elif before.get("name") != after.get("name"):
            found.append(_reason(step, before["name"], after["name"]))
    return found


_EDGE_WORDS = {
    "env": "configuration",
    "mounts": "folder of its identity",
    "networks_advanced": "network",
    "user": "owner of its key",
}


def short(revision: str) -> str:
    """A revision as people write it: 12 digits of a commit; others as they are."""
    return revision[:12] if re.fullmatch(r"[0-9a-f]{40}", revision) else revision


def _source(before: Table, after: Table) -> list[Reason]:
    if before["slug"] != after["slug"]:
        return [_reason("slug", before["slug"], after["slug"])]
    if before["revision"] != after["revision"]:
        what = "folder" if str(after["revision"]).startswith("dir-") else "commit"
        return [_reason(what, before["revision"], after["revision"])]
    return []


def retold(found: list[Reason], what: str, revision: str, text: str) -> list[Reason]:
    """The reasons of a service that a run keeps at ``revision``, or leads back to it: that one first."""
    moved = next((one for one in found if one["what"] in _MOVED), _reason(what, after=revision, text=text))
    return [{**moved, "what": what, "text": text}, *(one for one in found if one is not moved)]


_MOVED = ("commit", "folder")


def _image(before: Table, after: Table, old: Table, new: Table, change: Table) -> list[Reason]:
    if before["image"] == after["image"]:
        return []
    if change.get("after") and not change["after"].get("build"):  # without a build block it is taken as it is
        return [_reason("image", before["image"], after["image"], text="image of then, not built again")]
    if old and ("dockerfile" in old) != ("dockerfile" in new):
        who = "the repository's own Dockerfile" if "dockerfile" in new else "the kit"
        return [_reason("image", before["image"], after["image"], text=f"image built by {who} from now on")]
    parts = [part for part in _IMAGE_PARTS if part in old and old[part] != new.get(part)]
    if "base" in parts:  # the kit's images are made on it
        parts = [part for part in parts if part not in ("builder", "runner")]
    if not parts and old.get("recipe") != new.get("recipe"):
        parts = ["recipe"]
    words = ", ".join(_IMAGE_PARTS.get(part, "the kit's Dockerfile template") for part in parts)
    text = f"image rebuilt: {words} changed" if words else "image rebuilt"
    return [_reason("image", before["image"], after["image"], text=text)]


def _environment(change: Table, told: set[str]) -> list[Reason]:
    """``env: +ADDED, -REMOVED, ~CHANGED``, without what only follows from another reason."""
    before, after = (_pairs((change.get(side) or {}).get("env")) for side in ("before", "after"))
    if not change.get("before") or not change.get("after"):
        return []
    implied = ({"PORT"} if "port" in told else set()) | (
        {"OTEL_RESOURCE_ATTRIBUTES"} if told & {"commit", "folder", "slug"} else set()
    )
    words = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key) or key.startswith("KARST_") or key in implied:
            continue
        words.append(f"{'+' if key not in before else '-' if key not in after else '~'}{key}")
    return [_reason("env", text=f"env: {', '.join(words)}")] if words else []


def _drift(changes: Table) -> list[Reason]:
    """What happened outside: the list gives no reason, and yet something is to be done."""
    found = []
    for role in _ROLES:
        change = changes.get(role) or {}
        if change.get("actions") and change.get("before") is None:
            found.append(_reason("gone", text=f"its {role} container is gone"))
        elif "must_run" in _forcing(change):
            found.append(_reason("stopped", text=f"its {role} container is not running"))
        elif change.get("reason") == "replace_because_tainted":
            found.append(_reason("unfinished", text=f"the last deploy did not finish its {role} container"))
        elif change.get("reason") == "replace_by_request":
            found.append(_reason("limits", text="a limit was changed by hand that only a new pod is rid of"))
    if not found and (names := sorted({f"{role} {name}" for role in _ROLES for name in _forcing(changes.get(role))})):
        found.append(_reason("drift", text=f"changed on the host: {', '.join(names)}"))
    if not found and "gate" in changes:
        found.append(_reason("gate", text="the last deploy did not get it through its gate"))
    return found


def _forcing(change: Table | None) -> list[str]:
    """Attributes that force a replacement or differ, without what follows from another member's replacement."""
    if not change or not change.get("actions"):
        return []
    names = {str(path[0]) for path in change.get("replace_paths") or [] if path} or set(_differing(change))
    return sorted(names - {"network_mode", "name", "id"})


def _differing(change: Table) -> list[str]:
    before, after, unknown = change.get("before") or {}, change.get("after") or {}, change.get("after_unknown") or {}
    return [key for key in before if before[key] != after.get(key) and not unknown.get(key)]


def _pairs(env: Any) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in env or [])


def _told(key: str, value: str) -> str:
    return value or _UNSET.get(key, "")


def _reason(what: str, before: str = "", after: str = "", *, text: str = "") -> Reason:
    return {
        "what": what,
        "before": before,
        "after": after,
        "text": text or f"{what} {short(before)} → {short(after)}",
    }
