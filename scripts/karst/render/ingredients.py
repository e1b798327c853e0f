"""What an image is made of, part by part, so that a plan can say which part makes it be built anew."""

from __future__ import annotations

from dataclasses import replace

from karst.deps import Plan
from karst.render.hashing import canonical, digest
from karst.render.inputs import NO_REVISION, Inputs, rendered


def ingredients(inputs: Inputs, plan: Plan | None) -> dict[str, str]:
    """Part → short hash, or the reference of an image.

    ``recipe`` is the Dockerfile without the images' references: it differs for other commands, packages and
    dependencies, which have parts of their own, and for another template.
    """
    neutral = replace(inputs, images={key: key for key in inputs.images})
    parts = {
        "source": inputs.tree,
        "dependencies": digest(canonical([plan.kind, plan.files, plan.manifests, plan.skeleton] if plan else [])),
        "command": digest(*inputs.argv),
        "apt": digest(*inputs.apt),
        "recipe": digest(rendered(neutral, plan, NO_REVISION), inputs.cache_tag),
    }
    return {**{name: value[:12] for name, value in parts.items()}, **inputs.images}
