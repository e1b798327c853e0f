"""scripts/render: from fetched sources and detected entry points to build contexts, for all services in one call."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from karst.errors import KarstError, UsageError
from karst.external import json_field
from karst.files import cache_dir, write_atomic

Table = Mapping[str, Any]


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
    failures: dict[str, KarstError] = {}

    def one(name: str) -> None:
        try:
            pinned = services[name].get("pinned")
            results[name] = (
                pinned["image"] if pinned else render_service(name, services[name], detections[name], stack, images)
            )
        except KarstError as err:
            failures[name] = err
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            # A manifest of an unforeseen shape: tables where texts belong, versions that are none.
            what = f"its manifests cannot be understood ({type(err).__name__}: {err})"
            failures[name] = KarstError(what, code="render_failed")

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(one, sorted(services)))
    if failures:
        whole = KarstError("\n".join(f"{name}: {failures[name]}" for name in sorted(failures)), code="render_failed")
        whole.parts = failures
        raise whole
    return {"services": json.dumps({name: results[name] for name in sorted(results)}, sort_keys=True)}


def render_service(
    name: str, service: Table, detection: Table, stack: str, images: Mapping[str, str]
) -> dict[str, Any]:
    """One service's context, input hash, image tag and command; remembered, so that a plan without changes is quick."""
    from karst.render.bases import pick
    from karst.render.hashing import canonical, digest, kit_hash

    source = Path(str(service["source"]))
    if not source.is_dir():
        hint = "run the plan again: it is fetched anew"
        raise KarstError(f"the source {source} is not there", hint=hint, code="no_source")
    if service.get("dockerfile"):
        from karst.render.own_image import render_own

        return render_own(name, service, stack, source)
    asked, spec = str(service.get("python") or ""), str(detection.get("python") or "")
    chosen = {key: pick(value, asked, spec) for key, value in images.items()}
    key = digest(kit_hash(), sys.version, name, stack, *map(canonical, (service, detection, chosen)))
    remembered = cache_dir() / "render" / f"{key}.json"
    known = _remembered(remembered)
    if known is not None:
        return known
    from karst.render.context import ensure
    from karst.render.ingredients import ingredients
    from karst.render.inputs import build, read

    inputs = read(name, service, detection, stack, chosen)
    input_hash, dockerfile, plan = build(inputs)
    context = ensure(input_hash, dockerfile, plan, source, inputs.cache_tag)
    result = {
        "context": str(context),
        "dockerfile": "Dockerfile",
        "input_hash": input_hash,
        "tag": f"{stack}/{name}:{input_hash[:12]}",
        "argv": list(inputs.argv),
        "notes": list(plan.notes) if plan else [],
        "made_of": ingredients(inputs, plan),
    }
    write_atomic(remembered, json.dumps(result, sort_keys=True))
    return result


def _remembered(path: Path) -> dict[str, Any] | None:
    """An earlier answer whose context is still there. Both are touched, so that pruning knows what is in use."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        os.utime(known["context"])
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(known)
